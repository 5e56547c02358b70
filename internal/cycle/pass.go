package cycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/reuse"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// outcome is what a build left: what the targets have now, and what it took.
type outcome struct {
	targets []target
	stats   Stats
}

// build makes what is due, publishes and records it. What a user asked for by
// hand is made from nothing.
func (f *Factory) build(ctx context.Context, j job, log *slog.Logger) (outcome, error) {
	fresh := j.plan.Reason == plan.Requested
	return withoutLost(ctx, log, fresh, func(fresh bool) (outcome, error) { return f.pass(ctx, j, fresh, log) })
}

// pass is the way from a commit to its tags.
func (f *Factory) pass(ctx context.Context, j job, fresh bool, log *slog.Logger) (outcome, error) {
	done := outcome{targets: j.targets}
	w, end, err := f.begin(ctx, j, fresh, log)
	if err != nil {
		return done, err
	}
	defer end()
	stacks, err := f.pack(ctx, w, f.Config.SystemsOf(j.channel))
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
	if done.targets, err = f.publish(ctx, j, index, unsaid{stacks.lacks, w.nix.Version}, w.dir); err != nil {
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
	src nixpkgs
	old reuse.Index // what registries have of earlier images
	nix evaluator.Nix
	dir string // of this build alone
	log *slog.Logger
}

// begin finds out whether the image could be pushed at all, and takes in what it
// is made of. end gives back what the work holds.
func (f *Factory) begin(ctx context.Context, j job, fresh bool, log *slog.Logger) (w work, end func(), err error) {
	w = work{revision: j.revision, log: log}
	for _, t := range j.targets {
		if err := t.repo.CanPush(ctx); err != nil {
			return w, nil, fmt.Errorf("publish: %s: %w", t.repo.Ref(j.commit.Rev.String()), err)
		}
	}
	dir, release, err := f.workDir(ctx)
	if err != nil {
		return w, nil, err
	}
	w.dir = dir
	using, forget := context.WithCancel(ctx)
	if !fresh {
		w.old = reuse.Find(using, f.earlier(j.revision), reuse.Options{Limit: f.LookBack, Lost: lostBlobs(j.targets), Log: log})
	}
	w, giveBack, err := f.takeIn(ctx, w)
	if err != nil {
		forget()
		release()
		return w, nil, err
	}
	return w, func() {
		giveBack()
		forget()
		release()
	}, nil
}

// workDir makes the folder of one build. release removes it.
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
