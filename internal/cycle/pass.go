package cycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// outcome is what a build left: what the targets have now, and what it took.
type outcome struct {
	targets   []target
	stats     Stats
	unchanged bool // nothing had to be made
}

// build makes what is due, publishes and records it. What a user asked for by
// hand is made from nothing.
func (f *Factory) build(ctx context.Context, j job, b *bench, log *slog.Logger) (outcome, error) {
	fresh := j.plan.Reason == plan.Requested
	return withoutLost(ctx, log, fresh, func(fresh bool) (outcome, error) { return f.pass(ctx, j, b, fresh, log) })
}

// pass is the way from a commit to the tags of an image.
func (f *Factory) pass(ctx context.Context, j job, b *bench, fresh bool, log *slog.Logger) (outcome, error) {
	done := outcome{targets: j.targets}
	w, end, err := f.begin(ctx, j, b, fresh, log)
	if err != nil {
		return done, err
	}
	defer end()
	sets, err := f.evaluate(ctx, w, f.Config.SystemsOf(j.channel))
	if err != nil {
		return done, err
	}
	if settled, err := f.settle(ctx, j, sets); err != nil || settled.unchanged {
		return settled, err
	}
	stacks, err := f.pack(ctx, w, sets)
	done.stats = stacks.stats()
	if err != nil {
		return done, err
	}
	images, err := f.assemble(w, stacks)
	if err != nil {
		return done, err
	}
	index, err := image.Index(images)
	if err != nil {
		return done, err
	}
	if done.targets, err = f.publish(ctx, j, index, unsaid{stacks.lacks, w.nix.Version}, w.own); err != nil {
		return done, err
	}
	if err := f.record(j, done.targets); err != nil {
		return done, err
	}
	f.upload(ctx, w.src, stacks, log)
	return done, nil
}

// work is what an image is made of and with. Nothing in it changes.
type work struct {
	revision
	materials
	own     string             // folder of this image alone
	earlier func() reuse.Index // what registries have of earlier images
	log     *slog.Logger
}

// begin finds out whether the image could be pushed at all, and takes in what it
// is made of. end says that the work is done.
func (f *Factory) begin(ctx context.Context, j job, b *bench, fresh bool, log *slog.Logger) (w work, end func(), err error) {
	w = work{revision: j.revision, log: log}
	for _, t := range j.targets {
		if t.plain {
			continue // most of them are there already
		}
		if err := t.repo.CanPush(ctx); err != nil {
			return w, nil, fmt.Errorf("publish: %s: %w", t.ref, err)
		}
	}
	if w.materials, err = f.lay(ctx, b, j.revision, log); err != nil {
		return w, nil, err
	}
	if w.own, err = os.MkdirTemp(w.dir, j.image.Name()+"-"); err != nil {
		return w, nil, err
	}
	using, forget := context.WithCancel(ctx)
	w.earlier = func() reuse.Index {
		if fresh {
			return reuse.Index{}
		}
		return reuse.Find(using, f.earlier(j.revision), reuse.Options{Limit: f.LookBack, Lost: lostBlobs(j.targets), Log: log})
	}
	return w, forget, nil
}

// withoutLost makes an image, and makes it again from nothing if a layer that was
// to be reused turns out to be lost.
func withoutLost[T any](ctx context.Context, log *slog.Logger, fresh bool, run func(fresh bool) (T, error)) (T, error) {
	got, err := run(fresh)
	var lost *layers.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		log.Warn("a layer that was to be reused is lost, making all of them", "error", lost)
		return run(true)
	}
	return got, err
}
