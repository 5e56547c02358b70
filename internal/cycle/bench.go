package cycle

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// bench is where the images of a revision are made, one after the other: what the
// first of them takes in or makes, the others find there.
type bench struct {
	channel string
	rev     git.Rev
	laid    bool // something was taken in, or could not be
	materials
	err   error // why not
	clear func()
}

// materials are what the images of a revision share.
type materials struct {
	src  nixpkgs
	nix  evaluator.Nix
	dir  string
	made *shelf
}

// turn makes a bench ready for a revision, and gives back what belongs to another.
func (b *bench) turn(r revision) {
	if b.laid && (b.channel != r.channel.Name || b.rev != r.commit.Rev) {
		b.end()
	}
	b.channel, b.rev = r.channel.Name, r.commit.Rev
}

// end gives back what lies on a bench.
func (b *bench) end() {
	if b.clear != nil {
		b.clear()
	}
	*b = bench{}
}

// lay takes in what the images of a revision are made of and with, once.
func (f *Factory) lay(ctx context.Context, b *bench, r revision, log *slog.Logger) (materials, error) {
	b.turn(r)
	if !b.laid {
		b.laid = true
		b.materials, b.clear, b.err = f.gather(ctx, r, log)
	}
	return b.materials, b.err
}

func (f *Factory) gather(ctx context.Context, r revision, log *slog.Logger) (materials, func(), error) {
	dir, release, err := f.workDir(ctx)
	if err != nil {
		return materials{}, nil, err
	}
	m, giveBack, err := f.takeIn(ctx, r, dir, log)
	if err != nil {
		release()
		return materials{}, nil, err
	}
	m.made = newShelf()
	return m, func() { giveBack(); release() }, nil
}

// workDir makes the folder of a bench. release removes it.
func (f *Factory) workDir(ctx context.Context) (dir string, release func(), err error) {
	dir, remove, err := workdir.Make(ctx, f.Dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		if err := remove(); err != nil {
			f.Log.Warn("a work folder is left behind", "error", err)
		}
	}, nil
}

// shelf holds layers that were made, by key.
type shelf struct {
	mu     sync.Mutex
	places map[layers.Key]*place
}

// place is that of one layer. It is locked while the layer is made.
type place struct {
	sync.Mutex
	layer *layers.Layer
}

func newShelf() *shelf { return &shelf{places: make(map[layers.Key]*place)} }

// take returns the layer with a key, and makes it if nobody has, or if the files of
// an object in it that is wanted are not listed.
func (s *shelf) take(key layers.Key, objects []nix.PathInfo, want map[nix.StorePath]bool, pack func() (*layers.Layer, error)) (*layers.Layer, error) {
	p := s.at(key)
	p.Lock()
	defer p.Unlock()
	unlisted := func(o nix.PathInfo) bool { return want[o.Path] && p.layer.Listings[o.Path] == nil }
	if p.layer != nil && !slices.ContainsFunc(objects, unlisted) {
		return p.layer, nil
	}
	layer, err := pack()
	if err == nil {
		p.layer = layer
	}
	return layer, err
}

func (s *shelf) at(key layers.Key) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[key] == nil {
		s.places[key] = new(place)
	}
	return s.places[key]
}
