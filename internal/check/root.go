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

// Root is what the topmost layer says: of the store objects of its image, and what
// lies beside them. Visit fills it.
type Root struct {
	Objects   map[string]nix.PathInfo // by base name
	Database  bool                    // they are from there
	Inventory image.Inventory
	Links     map[string]string // all symbolic links
	Files     map[string]bool

	scratch string
	size    int // bytes of names and targets
}

// NewRoot returns what says nothing yet. scratch is a folder for the database, which
// is removed when it was read.
func NewRoot(scratch string) *Root {
	return &Root{Objects: make(map[string]nix.PathInfo), Links: make(map[string]string), Files: make(map[string]bool), scratch: scratch}
}

// Bounds of a topmost layer. That of the base image has 3,000 links, and a database
// of 200 KiB.
const (
	maxNames    = 64 << 20 // bytes of names and targets together
	maxDatabase = 128 << 20
)

// Visit takes an entry of the layer in.
func (r *Root) Visit(h *tar.Header, content io.Reader) error {
	name := "/" + strings.TrimSuffix(h.Name, "/")
	if r.size += len(name) + len(h.Linkname); r.size > maxNames {
		return fmt.Errorf("names and targets of more than %d bytes", maxNames)
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		r.Links[name] = h.Linkname
		return nil
	case tar.TypeReg:
		r.Files[name] = true
	}
	switch name {
	case image.InventoryPath:
		return r.readInventory(content)
	case databasePath:
		if err := r.readDatabase(h.Size, content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (r *Root) readInventory(content io.Reader) error {
	list, err := image.DecodeInventory(content)
	if err != nil {
		return err
	}
	r.Inventory = list
	for _, o := range list.Objects {
		r.Objects[o.Path.Base()] = nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References}
	}
	return nil
}

// Listed refuses an image that does not know its store objects.
func (r *Root) Listed() error {
	if len(r.Objects) == 0 {
		return errors.New("no Nix database, and no list of the store objects, or an empty one")
	}
	return nil
}

const databasePath = "/nix/var/nix/db/db.sqlite"

func (r *Root) readDatabase(size int64, from io.Reader) error {
	r.Database = true
	if size > maxDatabase {
		return fmt.Errorf("%d bytes, more than %d", size, maxDatabase)
	}
	dir, err := os.MkdirTemp(r.scratch, "check-*")
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
	infos, err := nixdb.ReadMade(file)
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), file, "db.sqlite")) // that name says nothing to anybody
	}
	for _, info := range infos {
		r.Objects[info.Path.Base()] = info
	}
	return nil
}

// Spread finds store objects that are not in exactly one layer, and layers whose
// key is another one's.
func (r *Root) Spread(below []image.Layer) (problems []error) {
	seen := make(map[string]int)
	for i, layer := range below {
		objects := make([]nix.PathInfo, 0, len(layer.Paths))
		for _, name := range layer.Paths {
			seen[name]++
			info, ok := r.Objects[name]
			if !ok {
				problems = append(problems, fmt.Errorf("layer %d holds %s, which %s does not know", i, name, r.list()))
			}
			objects = append(objects, info)
		}
		if !slices.Contains(keys(layer.MediaType, objects), layer.Key) {
			problems = append(problems, fmt.Errorf("layer %d: its key %s is not that of the objects in %s", i, layer.Key, r.list()))
		}
	}
	for _, name := range sortedNames(r.Objects) {
		if n := seen[name]; n != 1 {
			problems = append(problems, fmt.Errorf("%s is in %s and in %d layers", name, r.list(), n))
		}
	}
	return problems
}

// Dangling finds what leads to store objects that are not in the image.
func (r *Root) Dangling(started v1.Config) []error {
	return slices.Concat(r.Unresolved(), r.Leading(started))
}

// Unresolved finds references to store objects that are not in the image. Those of a
// database are complete, or it cannot be read.
func (r *Root) Unresolved() (problems []error) {
	for _, name := range sortedNames(r.Objects) {
		for _, p := range r.Objects[name].References {
			problems = append(problems, r.hold(p, name+" refers to")...)
		}
	}
	return problems
}

// Leading finds links, and what a container is started with, that lead to such objects.
func (r *Root) Leading(started v1.Config) (problems []error) {
	for _, name := range sortedNames(r.Links) {
		for _, p := range nix.FindStorePaths(r.Links[name]) {
			problems = append(problems, r.hold(p, name+" leads to")...)
		}
	}
	for _, text := range slices.Concat(started.Env, started.Entrypoint, started.Cmd) {
		for _, p := range nix.FindStorePaths(text) {
			problems = append(problems, r.hold(p, "a container is started with")...)
		}
	}
	return problems
}

// hold finds fault with a store path that is not in the image.
func (r *Root) hold(p nix.StorePath, what string) []error {
	if _, ok := r.Objects[p.Base()]; ok {
		return nil
	}
	return []error{fmt.Errorf("%s %s, which is not in the image", what, p)}
}

// Lacking finds files that a container cannot be started without.
func (r *Root) Lacking(started v1.Config) (problems []error) {
	for _, name := range r.needed(started) {
		if _, ok := r.Links[name]; !ok && !r.Files[name] {
			problems = append(problems, fmt.Errorf("%s is missing", name))
		}
	}
	return problems
}

// list is what an image knows its store objects by.
func (r *Root) list() string {
	if r.Database {
		return "the database"
	}
	return "the image's list"
}

// needed are files that have to be there: those that every image has, and the
// program that a container starts with.
func (r *Root) needed(started v1.Config) []string {
	names := []string{image.InventoryPath, "/etc/passwd"}
	if r.Database {
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
