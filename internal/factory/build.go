package factory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixcli"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/reuse"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// build is the making of one image for all its systems.
type build struct {
	*Factory
	*due
	log   *slog.Logger
	dir   string // of this build alone
	nix   nixcli.Nix
	fresh bool        // nothing is reused: what a user asked for by hand is made from nothing
	found reuse.Index // what registries have of earlier images

	tree     *source.Tree
	sources  []nix.PathInfo // the tree's store objects
	unpacked string         // folder of the tree, for Nix
	facts    image.Facts

	mu    sync.Mutex
	made  []*layers.Layer
	full  []contents        // of each system
	lacks map[string]string // by system that was left out, the store path that no cache has
	stats Stats
}

// make builds what is due, publishes and records it.
func (f *Factory) make(ctx context.Context, d *due, log *slog.Logger) (Stats, error) {
	var stats Stats
	first := &build{Factory: f, due: d, log: log, fresh: d.job.Reason == plan.Requested}
	err := first.attempt(ctx, func(b *build) error {
		err := b.run(ctx)
		stats = b.stats
		return err
	})
	return stats, err
}

// attempt makes an image, and makes it again from nothing if a layer that was to
// be reused turns out to be lost.
func (b *build) attempt(ctx context.Context, run func(*build) error) error {
	err := run(b)
	var lost *layers.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		b.log.Warn("a layer that was to be reused is lost, making all of them", "error", lost)
		return run(&build{Factory: b.Factory, due: b.due, log: b.log, fresh: true})
	}
	return err
}

// run is the way from a commit to its tags.
func (b *build) run(ctx context.Context) error {
	done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	parts, err := b.parts(ctx, b.Config.SystemsOf(b.channel))
	if err != nil {
		return err
	}
	index, err := image.Index(parts)
	if err != nil {
		return err
	}
	if err := b.publish(ctx, b.due, index, b.lacks, b.dir); err != nil {
		return err
	}
	if err := b.record(); err != nil {
		return err
	}
	b.fillCaches(ctx)
	return nil
}

// begin finds out whether the image could be pushed at all, and takes in the
// source. done gives back what the build holds.
func (b *build) begin(ctx context.Context) (done func(), err error) {
	for _, p := range b.places {
		if err := p.repo.CanPush(ctx); err != nil {
			return nil, fmt.Errorf("publish: %s: %w", p.repo.Ref(b.commit.Rev), err)
		}
	}
	if b.nix, err = b.Nix(ctx); err != nil {
		return nil, err
	}
	b.nix.Limits = nixcli.Limits{Timeout: b.Config.Evaluation.Timeout, Memory: b.Config.Evaluation.Memory}
	dir, release, err := workdir.Make(ctx, b.Dir)
	if err != nil {
		return nil, err
	}
	b.dir = dir
	using, forget := context.WithCancel(ctx)
	if !b.fresh {
		b.found = reuse.Find(using, b.earlier(b.due), reuse.Options{Limit: b.LookBack, Lost: b.lostBlobs(), Log: b.log})
	}
	done = func() {
		if b.tree != nil {
			b.tree.Close()
		}
		forget()
		if err := release(); err != nil {
			b.log.Warn("a work folder is left behind", "error", err)
		}
	}
	if err := b.takeSource(ctx); err != nil {
		done()
		return nil, fmt.Errorf("source: %w", err)
	}
	b.facts = b.describe()
	return done, nil
}

// parts makes the images of the systems, while the source's layer, which they
// share, is made beside them.
func (b *build) parts(ctx context.Context, systems []config.System) ([]image.Part, error) {
	var parts []image.Part
	group, groupCtx := errgroup.WithContext(ctx)
	base := newPromise[*layers.Layer]()
	group.Go(func() error {
		layer, err := b.sourceLayer(groupCtx)
		base.settle(layer, err)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		for _, system := range systems {
			img, err := b.image(groupCtx, system, base)
			var absent *binarycache.NotFoundError
			switch {
			case err == nil:
				parts = append(parts, image.Part{System: system, Image: img})
			case errors.As(err, &absent) && slices.Contains(b.channel.Optional, system):
				b.log.Warn("left out: upstream does not have this system", "system", system.Nix, "error", err)
				if b.lacks == nil {
					b.lacks = make(map[string]string)
				}
				b.lacks[system.Nix] = absent.Path.Base()
			default:
				return fmt.Errorf("%s: %w", system.Nix, err)
			}
		}
		return nil
	})
	return parts, group.Wait()
}
