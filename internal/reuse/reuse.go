// Package reuse looks for what earlier images, still in a registry, have that
// need not be made again: layers by their keys, and the lists of the tools'
// files that an image keeps of itself.
//
// It saves work and decides nothing. What cannot be read is made again, and so
// is what cannot be read soon.
package reuse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// Index is what was found. The zero value has nothing.
type Index struct {
	layers   map[layers.Key]*layers.Layer
	listings map[nix.StorePath][]string
}

// Layer returns the layer with a key, nil if there is none.
func (x Index) Layer(key layers.Key) *layers.Layer { return x.layers[key] }

// Listing returns the files of a tool, nil if they are not known.
func (x Index) Listing(p nix.StorePath) []string { return x.listings[p] }

// LayerWith returns the layer with a key, provided that the listing of each
// object in it that is wanted is known, too.
func (x Index) LayerWith(key layers.Key, objects []nix.PathInfo, want map[nix.StorePath]bool) *layers.Layer {
	for _, o := range objects {
		if _, ok := x.listings[o.Path]; want[o.Path] && !ok {
			return nil
		}
	}
	return x.layers[key]
}

// Place is where an earlier image may be.
type Place struct {
	Repository registry.Repository
	Tags       []string // all of them are read
	Named      bool     // by the user, who is told if nothing is there

	// Earlier names tags of which the first one that is there is read. It is
	// asked once all else in the repository was tried; nil: there are none.
	Earlier func(context.Context) []string
}

// Options bound the search.
type Options struct {
	Limit time.Duration // 0: 20 seconds
	Lost  []v1.Hash     // blobs that a registry is known to have lost
	Log   *slog.Logger
}

// limit bounds the time in which earlier images are looked for. A registry
// answers in much less; one that stalls costs no more than this.
const limit = 20 * time.Second

// Find reads the images in places, in order. The bytes of the layers that it
// finds can be read as long as ctx lives.
func Find(ctx context.Context, places []Place, o Options) Index {
	if o.Limit == 0 {
		o.Limit = limit
	}
	s := search{Options: o, until: time.Now().Add(o.Limit), read: make(map[v1.Hash]bool), lost: make(map[v1.Hash]bool), found: empty()}
	for _, digest := range o.Lost {
		s.lost[digest] = true
	}
	for _, p := range places {
		for _, tag := range p.Tags {
			s.try(ctx, p.Repository, tag)
		}
		if p.Earlier != nil {
			s.tryEarlier(ctx, p)
		}
	}
	return s.found
}

// search is one call of Find.
type search struct {
	Options
	until time.Time        // when looking ends
	read  map[v1.Hash]bool // what was read: indexes, and images that are alone
	lost  map[v1.Hash]bool
	found Index
}

func empty() Index {
	return Index{layers: make(map[layers.Key]*layers.Layer), listings: make(map[nix.StorePath][]string)}
}

func (s *search) tryEarlier(ctx context.Context, p Place) {
	limited, cancel := context.WithDeadline(ctx, s.until)
	defer cancel()
	for _, tag := range p.Earlier(limited) {
		if s.try(ctx, p.Repository, tag) {
			return
		}
	}
}

// try reads an earlier image, and tells whether it is there.
func (s *search) try(ctx context.Context, repo registry.Repository, tag string) bool {
	more := Index{layers: maps.Clone(s.found.layers), listings: maps.Clone(s.found.listings)}
	err := s.inTime(ctx, repo.Ref(tag), func(ctx context.Context) error { return s.readTag(ctx, more, repo, tag) })
	if !errors.Is(err, errSlow) {
		s.found = more
	}
	return err == nil
}

// inTime reads an image while there is time. Layers of an image that was read are
// read later, too, so the limit ends with the reading.
func (s *search) inTime(ctx context.Context, image string, read func(context.Context) error) error {
	left := time.Until(s.until)
	if left <= 0 {
		return errSlow
	}
	reading, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(left, func() { cancel(errSlow) })
	err := read(reading)
	if !timer.Stop() {
		err = errSlow
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) && ctx.Err() == nil {
		s.Log.Warn("earlier image not used", "image", image, "error", err)
	}
	return err
}

var errSlow = errors.New("the registry takes too long to answer")

// readTag adds the layers and listings of the index under a tag.
func (s *search) readTag(ctx context.Context, to Index, repo registry.Repository, tag string) error {
	index, err := repo.Index(ctx, tag)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil || s.read[digest] {
		return err
	}
	s.read[digest] = true
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var problems []error // one system's are no reason to do without the others
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err == nil {
			err = s.readImage(to, img)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", desc.Digest, err))
		}
	}
	return errors.Join(problems...)
}

func (s *search) readImage(to Index, img v1.Image) error {
	opened, err := image.Open(img)
	if err != nil {
		return err
	}
	stack, err := opened.Stack()
	if err != nil {
		return err
	}
	for _, l := range stack {
		if l.Key == "" || to.layers[l.Key] != nil || s.lost[l.Digest] {
			continue
		}
		layer, err := layers.Found(l.Key, l.Paths, l.DiffID, l.Blob)
		if err != nil {
			return err
		}
		to.layers[l.Key] = layer
	}
	inventory, err := image.ReadInventory(stack[len(stack)-1].Blob)
	if err != nil {
		return err
	}
	for _, tool := range inventory.Tools {
		to.listings[tool.Path] = tool.Files
	}
	return nil
}
