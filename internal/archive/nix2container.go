package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	spec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// Bounds of what nix2container writes. An image with a closure of a thousand
// paths, each with permissions of its own, has less than a megabyte.
const (
	maxRecipe = 32 << 20
	maxLayers = 1000
	maxPaths  = 100_000 // of one layer
	maxPerms  = 1000    // of one path
	maxRegex  = 4 << 10
	maxRepl   = 1 << 10
)

// Nix2container is the JSON file that nix2container leaves of an image: a recipe
// by which layers are made of store paths of this machine.
type Nix2container struct {
	JSON []byte
	Root string // the folder that /nix/store is in; "": /
}

// Document opens a JSON file of nix2container, with the store of this machine.
func Document(name string) (Source, error) {
	data, err := smallfile.Read(name, maxRecipe)
	if err != nil {
		return nil, err
	}
	n := Nix2container{JSON: data}
	return source{name: name, read: n.Images, close: n.Close}, nil
}

// Close implements Source.
func (Nix2container) Close() error { return nil }

// Images implements Source. The store is not read before a layer is.
func (n Nix2container) Images(context.Context, Take) (Set, error) {
	image, err := n.image()
	if err != nil {
		return Set{}, fmt.Errorf("nix2container JSON: %w", said.Error(err))
	}
	return Set{Images: []Image{image}}, nil
}

func (n Nix2container) image() (Image, error) {
	r, err := parseRecipe(n.JSON)
	if err != nil {
		return Image{}, err
	}
	image := Image{Platform: v1.Platform{OS: "linux", Architecture: r.Arch}}
	for i, l := range r.Layers {
		layer, err := l.layer(n.Root)
		if err != nil {
			return Image{}, fmt.Errorf("layers[%d]: %w", i, err)
		}
		image.Layers = append(image.Layers, layer)
	}
	image.Config, err = json.Marshal(r.config())
	return image, err
}

// recipe is the JSON.
type recipe struct {
	Version int              `json:"version"`
	Config  spec.ImageConfig `json:"image-config"`
	Arch    string           `json:"arch"`
	Created *time.Time       `json:"created"`
	Layers  []recipeLayer    `json:"layers"`
}

type recipeLayer struct {
	Digest    digest.Digest   `json:"digest"`
	Size      int64           `json:"size"`
	DiffID    digest.Digest   `json:"diff_ids"`
	Paths     []recipePath    `json:"paths"`
	Media     types.MediaType `json:"mediatype"`
	LayerPath string          `json:"layer-path"`
	History   spec.History
}

type recipePath struct {
	Path    string `json:"path"`
	Options struct {
		Rewrite struct {
			Regex string `json:"regex"`
			Repl  string `json:"repl"`
		} `json:"rewrite"`
		Perms  []recipePerm `json:"perms"`
		Ignore string       `json:"ignoreDestination"`
	} `json:"options"`
}

type recipePerm struct {
	Regex  string `json:"regex"`
	Mode   string `json:"mode"`
	OrMode string `json:"orMode"`
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Uname  string `json:"uname"`
	Gname  string `json:"gname"`
}

func parseRecipe(data []byte) (recipe, error) {
	var r recipe
	if len(data) > maxRecipe {
		return r, fmt.Errorf("larger than %d bytes", maxRecipe)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, err
	}
	if _, err := d.Token(); err != io.EOF {
		return r, fmt.Errorf("byte %d: more than one value", d.InputOffset())
	}
	switch {
	case r.Version != 1:
		return r, fmt.Errorf("version %d, want 1", r.Version)
	case r.Arch == "":
		return r, errors.New("no arch")
	case len(r.Layers) > maxLayers:
		return r, fmt.Errorf("%d layers (at most %d)", len(r.Layers), maxLayers)
	}
	return r, nil
}

// config is the image's configuration, with the fields in the order in which
// nix2container itself would write them.
func (r recipe) config() spec.Image {
	c := spec.Image{
		Created:  r.Created,
		Platform: spec.Platform{Architecture: r.Arch, OS: "linux"},
		Config:   r.Config,
		RootFS:   spec.RootFS{Type: "layers"},
	}
	for _, l := range r.Layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
		c.History = append(c.History, l.History)
	}
	return c
}

func (l recipeLayer) layer(root string) (Layer, error) {
	diffID, err := v1.NewHash(string(l.DiffID))
	if err != nil {
		return Layer{}, fmt.Errorf("diff_ids: %w", err)
	}
	if l.LayerPath != "" {
		return l.finished(diffID, root)
	}
	if l.Digest != l.DiffID {
		return Layer{}, fmt.Errorf("digest %q is not diff_ids, and there is no layer-path", l.Digest)
	}
	objects, err := l.objects()
	if err != nil {
		return Layer{}, err
	}
	return Layer{DiffID: diffID, From: l.from(), Open: storeTar{root, objects, everybody}.open}, nil
}

// finished is a layer that is a file: of a build that would not give the same
// bytes again, or of an image that this one is built on.
func (l recipeLayer) finished(diffID v1.Hash, root string) (Layer, error) {
	name, err := inStore(l.LayerPath)
	if err != nil {
		return Layer{}, fmt.Errorf("layer-path: %w", err)
	}
	layer := Layer{DiffID: diffID, From: l.LayerPath, Open: storeFile{root, name}.open}
	if l.Digest == l.DiffID {
		return layer, nil
	}
	blob, err := v1.NewHash(string(l.Digest))
	if err != nil {
		return Layer{}, fmt.Errorf("digest: %w", err)
	}
	layer.Blob = &v1.Descriptor{MediaType: l.Media, Digest: blob, Size: l.Size}
	return layer, nil
}

// from names the first store paths of a layer.
func (l recipeLayer) from() string {
	const most = 3
	var names []string
	for _, p := range l.Paths[:min(most, len(l.Paths))] {
		names = append(names, p.Path)
	}
	text := strings.Join(names, ", ")
	if more := len(l.Paths) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// inStore returns the name of a file of a store path, without the store folder.
func inStore(file string) (string, error) {
	name, below := strings.CutPrefix(file, nix.StoreDir+"/")
	object, _, _ := strings.Cut(name, "/")
	if _, err := nix.ParseStorePathBase(object); err != nil || !below || path.Clean(name) != name {
		return "", fmt.Errorf("%q is no file of a store path", file)
	}
	return name, nil
}

func (l recipeLayer) objects() ([]object, error) {
	if len(l.Paths) == 0 || len(l.Paths) > maxPaths {
		return nil, fmt.Errorf("%d paths (1 to %d)", len(l.Paths), maxPaths)
	}
	objects := make([]object, len(l.Paths))
	for i, p := range l.Paths {
		var err error
		if objects[i], err = p.object(); err != nil {
			return nil, fmt.Errorf("paths[%d]: %w", i, err)
		}
	}
	return objects, nil
}

func (p recipePath) object() (o object, err error) {
	if o.path, err = nix.ParseStorePath(p.Path); err != nil {
		return o, err
	}
	if o.rewrite, err = compile(p.Options.Rewrite.Regex); err != nil {
		return o, fmt.Errorf("options.rewrite: %w", err)
	}
	if o.repl = p.Options.Rewrite.Repl; len(o.repl) > maxRepl {
		return o, fmt.Errorf("options.rewrite.repl: %d bytes (at most %d)", len(o.repl), maxRepl)
	}
	if o.ignore, err = compile(p.Options.Ignore); err != nil {
		return o, fmt.Errorf("options.ignoreDestination: %w", err)
	}
	if n := len(p.Options.Perms); n > maxPerms {
		return o, fmt.Errorf("options.perms: %d (at most %d)", n, maxPerms)
	}
	for i, perm := range p.Options.Perms {
		r, err := perm.rule()
		if err != nil {
			return o, fmt.Errorf("options.perms[%d]: %w", i, err)
		}
		o.rules = append(o.rules, r)
	}
	return o, nil
}

func (p recipePerm) rule() (r rule, err error) {
	r = rule{uid: p.UID, gid: p.GID, uname: p.Uname, gname: p.Gname, keep: 0o7777}
	if r.match, err = regexp.Compile(p.Regex); err != nil {
		return r, err
	}
	if p.Mode != "" {
		r.keep = 0
	}
	for _, text := range []string{p.Mode, p.OrMode} {
		bits, err := strconv.ParseUint("0"+text, 8, 12)
		if err != nil {
			return r, fmt.Errorf("mode %q: want permission bits in octal", text)
		}
		r.add |= int64(bits)
	}
	return r, nil
}

// compile compiles a regular expression; nil stands for an empty one.
func compile(text string) (*regexp.Regexp, error) {
	switch {
	case text == "":
		return nil, nil
	case len(text) > maxRegex:
		return nil, fmt.Errorf("a regular expression of %d bytes (at most %d)", len(text), maxRegex)
	}
	return regexp.Compile(text)
}
