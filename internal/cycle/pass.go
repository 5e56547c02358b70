package cycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// outcome is what a build left: what the targets have now, and what it took.
type outcome struct {
	targets   []target
	stats     Stats
	index     v1.ImageIndex // what was published
	unchanged bool          // nothing had to be made
	ends      bool          // the image was looked at, and no layer was made
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
	if _, err := f.signer(); err != nil {
		return done, err
	}
	w, end, err := f.begin(ctx, j, b, fresh, log)
	if err != nil {
		return done, err
	}
	defer end()
	var settled outcome
	stacks, err := f.pack(ctx, w, f.Config.SystemsOf(j.channel), func(sets []evaluated) (due bool, err error) {
		if settled, err = f.settle(ctx, j, sets); err != nil || settled.unchanged {
			settled.ends = true
			return false, err
		}
		plain, err := j.aim(true)
		w.targets = plain.targets
		return true, err
	})
	if settled.ends {
		return settled, err
	}
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
	if done.targets, err = f.publish(ctx, j.having(w.recent()), index, unsaid{stacks.lacks, w.nix.Version}, w.own, func(j job) error {
		return f.attest(ctx, w, stacks, images, j, index)
	}); err != nil {
		return done, err
	}
	done.index = index
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
	own     string // folder of this image alone
	keeps   bool   // layers that were sent are kept: another image of the channel may have them, too
	likely  bool   // nixpkgs is in the image, by all that is known before it is evaluated
	earlier *lookup
	// What holds one for each system for which tools are built, and one for each
	// layer of a closure that is made.
	building, packing chan struct{}
	*sender
	log *slog.Logger
}

// begin finds out whether the image could be pushed at all, takes in what it is made
// of, and begins to look for earlier images. end says that the work is done.
func (f *Factory) begin(ctx context.Context, j job, b *bench, fresh bool, log *slog.Logger) (w work, end func(), err error) {
	w = work{revision: j.revision, log: log, likely: j.presume().depends(), building: make(chan struct{}, 1), packing: make(chan struct{}, parallelLayers)}
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
	if w.keeps = fresh || len(f.Config.ImagesOf(j.channel)) > 1; fresh {
		w.made = newShelf() // what lies on the other one may be gone
	}
	if w.own, err = os.MkdirTemp(w.dir, j.image.Name()+"-"); err != nil {
		return w, nil, err
	}
	w.earlier = newLookup(ctx, func(using context.Context) reuse.Index {
		if fresh {
			return reuse.Index{}
		}
		return reuse.Find(using, f.earlier(j.revision), reuse.Options{Limit: f.LookBack, Lost: lostBlobs(j.targets), Log: log})
	})
	if w.likely {
		w.earlier.begin()
	}
	w.sender = f.sender(j)
	return w, w.earlier.end, nil
}

// withoutLost makes an image, and makes it again from nothing if a layer turns out to
// be lost: one that was to be reused, or one that a registry has lost since it was sent.
func withoutLost[T any](ctx context.Context, log *slog.Logger, fresh bool, run func(fresh bool) (T, error)) (T, error) {
	got, err := run(fresh)
	var lost *layers.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		log.Warn("a layer is lost, making all of them", "error", lost)
		return run(true)
	}
	return got, err
}
