// Package check holds a finished index against itself before a tag points to
// it: the Nix database, or the list of an image that has none, against the layers,
// the closure, the links and the digests. An index goes in, and out come all the
// problems that it has, as one error; without one, every store path that the image
// names is in it.
//
// It reads the manifests and the topmost layer of each image, nothing else.
// That the other layers hold what their keys say was proved when they were
// made; a key binds a layer to the NAR hashes that the database must have.
package check

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
)

// Index checks all images of an index. The error joins everything that is
// wrong. scratch is a folder for the databases, which are removed.
func Index(index v1.ImageIndex, scratch string) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var problems []error
	if len(manifest.Manifests) == 0 {
		problems = append(problems, errors.New("an index without images"))
	}
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return err
		}
		if err := checkImage(manifest.Annotations, desc, img, scratch); err != nil {
			problems = append(problems, fmt.Errorf("image %s: %w", desc.Digest, err))
		}
	}
	return errors.Join(problems...)
}

func checkImage(facts map[string]string, desc v1.Descriptor, img v1.Image, scratch string) error {
	opened, err := image.Open(img)
	if err != nil {
		return err
	}
	conf := opened.Config
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	hasNixpkgs := facts[image.RevisionLabel] != ""
	for _, label := range []string{image.RecipeLabel, image.ChannelLabel, image.RevisionLabel, image.NarHashLabel} {
		wanted := hasNixpkgs || label == image.RecipeLabel
		if (facts[label] != "") != wanted || conf.Config.Labels[label] != facts[label] {
			add("label %s is %q, the index says %q", label, conf.Config.Labels[label], facts[label])
		}
	}
	if p := desc.Platform; p == nil || p.OS != conf.OS || p.Architecture != conf.Architecture {
		add("the index says platform %v, the image %s/%s", p, conf.OS, conf.Architecture)
	}
	stack, err := opened.Stack()
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	for i, layer := range stack {
		digest, err := layer.Blob.Digest()
		if err != nil {
			return err
		}
		diffID, err := layer.Blob.DiffID()
		if err != nil {
			return err
		}
		if digest != layer.Digest || diffID != layer.DiffID {
			add("layer %d: digest %s and diffID %s, the manifest says %s and %s", i, digest, diffID, layer.Digest, layer.DiffID)
		}
	}
	last := len(stack) - 1
	root, err := readRoot(stack[last].Blob, scratch)
	if err != nil {
		return fmt.Errorf("topmost layer: %w", err)
	}
	if hasNixpkgs && !root.database {
		add("nixpkgs is in the image, and no Nix database")
	}
	problems = append(problems, root.against(stack[:last], conf.Config)...)
	return errors.Join(problems...)
}

// root is what the topmost layer says.
type root struct {
	objects  map[string]nix.PathInfo // by base name
	database bool                    // they are from there
	links    map[string]string       // all symbolic links
	files    map[string]bool
}

func readRoot(layer v1.Layer, scratch string) (root, error) {
	r := root{objects: make(map[string]nix.PathInfo), links: make(map[string]string), files: make(map[string]bool)}
	err := layers.Read(layer, func(h *tar.Header, content io.Reader) error {
		name := "/" + strings.TrimSuffix(h.Name, "/")
		switch h.Typeflag {
		case tar.TypeSymlink:
			r.links[name] = h.Linkname
		case tar.TypeReg:
			r.files[name] = true
		}
		switch name {
		case image.InventoryPath:
			list, err := image.DecodeInventory(content)
			if err != nil {
				return err
			}
			for _, o := range list.Objects {
				r.objects[o.Path.Base()] = nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References}
			}
		case databasePath:
			r.database = true
			if err := r.readDatabase(content, scratch); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	if len(r.objects) == 0 {
		return r, errors.New("no Nix database, and no list of the store objects, or an empty one")
	}
	return r, nil
}

const databasePath = "/nix/var/nix/db/db.sqlite"

func (r *root) readDatabase(from io.Reader, scratch string) error {
	dir, err := os.MkdirTemp(scratch, "check-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "db.sqlite")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	infos, err := nixdb.Read(file)
	if err != nil {
		return err
	}
	for _, info := range infos {
		r.objects[info.Path.Base()] = info
	}
	return nil
}

// against holds the objects against the layers below and what a container is
// started with.
func (r root) against(below []image.Layer, started v1.Config) []error {
	return slices.Concat(r.spread(below), r.dangling(started), r.lacking(started))
}

// spread finds store objects that are not in exactly one layer, and layers whose
// key is another one's.
func (r root) spread(below []image.Layer) (problems []error) {
	seen := make(map[string]int)
	for i, layer := range below {
		objects := make([]nix.PathInfo, 0, len(layer.Paths))
		for _, name := range layer.Paths {
			seen[name]++
			info, ok := r.objects[name]
			if !ok {
				problems = append(problems, fmt.Errorf("layer %d holds %s, which %s does not know", i, name, r.list()))
			}
			objects = append(objects, info)
		}
		if !slices.Contains(keys(layer.MediaType, objects), layer.Key) {
			problems = append(problems, fmt.Errorf("layer %d: its key %s is not that of the objects in %s", i, layer.Key, r.list()))
		}
	}
	for _, name := range sortedNames(r.objects) {
		if n := seen[name]; n != 1 {
			problems = append(problems, fmt.Errorf("%s is in %s and in %d layers", name, r.list(), n))
		}
	}
	return problems
}

// dangling finds what leads to store objects that are not in the image.
func (r root) dangling(started v1.Config) (problems []error) {
	hold := func(p nix.StorePath, what string) {
		if _, ok := r.objects[p.Base()]; !ok {
			problems = append(problems, fmt.Errorf("%s %s, which is not in the image", what, p))
		}
	}
	for _, name := range sortedNames(r.objects) { // those of a database are complete, or it cannot be read
		for _, p := range r.objects[name].References {
			hold(p, name+" refers to")
		}
	}
	for _, name := range sortedNames(r.links) {
		for _, p := range nix.FindStorePaths(r.links[name]) {
			hold(p, name+" leads to")
		}
	}
	for _, text := range slices.Concat(started.Env, started.Entrypoint, started.Cmd) {
		for _, p := range nix.FindStorePaths(text) {
			hold(p, "a container is started with")
		}
	}
	return problems
}

// lacking finds files that a container cannot be started without.
func (r root) lacking(started v1.Config) (problems []error) {
	for _, name := range r.needed(started) {
		if _, ok := r.links[name]; !ok && !r.files[name] {
			problems = append(problems, fmt.Errorf("%s is missing", name))
		}
	}
	return problems
}

// list is what an image knows its store objects by.
func (r root) list() string {
	if r.database {
		return "the database"
	}
	return "the image's list"
}

// needed are files that have to be there: those that every image has, and the
// program that a container starts with.
func (r root) needed(started v1.Config) []string {
	names := []string{image.InventoryPath, "/etc/passwd"}
	if r.database {
		names = append(names, "/nix/var/nix/db/schema")
	}
	command := slices.Concat(started.Entrypoint, started.Cmd)
	if len(command) > 0 && path.IsAbs(command[0]) && !strings.HasPrefix(command[0], "/nix/store/") {
		names = append(names, path.Clean(command[0]))
	}
	return names
}

// keys are the keys that a layer with these objects may have: that of a
// layer of its own, or of one in which they share their content.
func keys(media types.MediaType, objects []nix.PathInfo) []layers.Key {
	encoding := layers.Gzip
	if media == types.OCILayerZStd {
		encoding = layers.Zstd
	}
	return []layers.Key{layers.KeyOf(encoding, objects), layers.LinkedKeyOf(encoding, objects)}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
