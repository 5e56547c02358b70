// Package cycle runs the cycle from channel heads to published images:
//
//	heads ─► plan ─► source ─► toolset ─► closure ─► layers ─► image ─► publish ─► record
//
// Each step is a package of its own; this one calls them, one channel after the
// other. Within a channel each step begins as soon as it has what it needs. In goes a
// configuration, out comes a Result for each commit that was looked at, with what is
// published of it now.
//
// One channel's failure keeps no other from its image, and no tag is set to an
// image that was not checked, is not whole, or is not of the tag's commit.
package cycle

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
	"github.com/nixpkgs-factory/factory/internal/sign"
	"github.com/nixpkgs-factory/factory/internal/upload"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// Factory is a configuration and what it takes to carry it out.
type Factory struct {
	Config config.Config
	Heads  *heads.Client
	Fetch  *fetch.Client
	Cache  *binarycache.Cache
	Store  *record.Store

	// Repository opens a repository by its name below a destination.
	Repository func(dest config.Destination, under string) (registry.Repository, error)

	// Uploads are binary caches that get what is published, so that later builds
	// and users can substitute it.
	Uploads []upload.Target

	// Sign reads the key that images are signed by; nil: they are not.
	Sign func() (*sign.Key, error)

	// Builder names who builds, in the provenance of images.
	Builder string

	// Nix finds the Nix that evaluates a source, and the one that is installed;
	// asked only when something is built.
	Nix *evaluator.Chooser

	Dir       string // for unfinished work; what is below it may be deleted
	Memory    string // file system in memory that nixpkgs is unpacked into where it has ample room
	ConfigDir string // where commands of the configuration run

	// LookBack bounds the time in which a build looks for layers that it need
	// not make. 0: 20 seconds.
	LookBack time.Duration

	// LogFailures has the failure of a job logged, too: for those who do not
	// look at results.
	LogFailures bool

	Log      *slog.Logger
	Moved    *Moved
	Progress progress.Progress
	Now      func() time.Time
}

// Moved counts bytes that went over the network.
type Moved struct {
	Fetched atomic.Int64 // from upstream and binary caches
	Pushed  atomic.Int64 // to registries
}

// Result is what became of a job. The JSON form is part of the command line's
// contract.
type Result struct {
	Channel   string      `json:"channel"`
	ImageName string      `json:"imageName"` // "" for what concerns every image of the channel
	Rev       git.Rev     `json:"rev"`
	Action    plan.Action `json:"action"`
	Reason    plan.Reason `json:"reason"`
	Published []Published `json:"published"`
	Error     string      `json:"error,omitempty"`

	// Index is what was made and published, for its manifests and configurations: its
	// layers are gone. Nil if nothing was.
	Index v1.ImageIndex `json:"-"`

	Err    error     `json:"-"`
	Since  time.Time `json:"-"` // when the channel came to the commit, if that is its head
	Failed int       `json:"-"` // tries of the commit and image that failed in a row
	Stats  Stats     `json:"-"`
}

// Published is an image in a registry.
type Published struct {
	Image  string  `json:"image"`
	Digest v1.Hash `json:"digest"`
}

// Stats say what a build moved and how long it took.
type Stats struct {
	Took         time.Duration
	Layers       int   // of all systems, shared ones counted once
	ReusedLayers int   // found in a registry, not made
	Size         int64 // compressed bytes of all layers
	Fetched      int64 // bytes from upstream and binary caches
	Pushed       int64 // bytes to registries
}

// Options are what one cycle does in another way than others.
type Options struct {
	// NoBuild leaves what is due for others to build: the cycle only restores the
	// tags and the record of images that are up to date.
	NoBuild bool

	// Patient keeps channels that failed from being tried before their next
	// try is due.
	Patient bool

	// Stop keeps any more jobs from being begun once it is closed; it may be nil.
	Stop <-chan struct{}
}

// Cycle looks at every channel once and publishes what is due. Every channel
// has a result, in the order of the configuration; a failure is in its result.
func (f *Factory) Cycle(ctx context.Context, o Options) ([]Result, error) {
	f.Cache.Forget()
	if err := workdir.Sweep(ctx, f.Dir); err != nil && ctx.Err() == nil {
		f.Log.Warn("what killed builds left behind cannot be removed", "error", err)
	}
	if err := workdir.SweepMemory(ctx, f.Memory); err != nil && ctx.Err() == nil {
		f.Log.Warn("what killed builds left behind in memory cannot be removed", "error", err)
	}
	if err := f.Nix.Keep.Sweep(f.Now()); err != nil {
		f.Log.Warn("a Nix that is kept and no longer used is not removed", "error", err)
	}
	jobs, err := f.survey(ctx, o.Patient)
	if err != nil {
		return nil, err
	}
	var results []Result
	var b bench
	defer b.end()
	for _, j := range jobs {
		select {
		case <-o.Stop:
			return results, nil
		default:
		}
		if ctx.Err() != nil {
			return results, nil
		}
		if result := f.carryOut(ctx, j, &b, o.NoBuild); !j.quiet || result.Err != nil {
			results = append(results, result)
		}
	}
	return results, nil
}

// Plan returns what Cycle would do.
func (f *Factory) Plan(ctx context.Context, o Options) ([]plan.Job, error) {
	jobs, err := f.survey(ctx, o.Patient)
	if err != nil {
		return nil, err
	}
	list := []plan.Job{}
	for _, j := range jobs {
		if j.quiet {
			continue
		}
		j = j.presume()
		planned := j.plan
		if planned.Err == nil {
			planned.Tags, planned.Err = f.tagsToSet(ctx, j)
		}
		list = append(list, planned)
	}
	return list, nil
}

// Rebuild builds and publishes images of a channel whatever the plan says, those
// that are named or all: of its head, or of the commit rev. Moving tags move only if
// that is the head.
func (f *Factory) Rebuild(ctx context.Context, channel, rev string, images ...string) ([]Result, error) {
	asked, err := f.revisions(ctx, channel, rev, images...)
	if err != nil {
		return nil, err
	}
	var results []Result
	var b bench
	defer b.end()
	for _, r := range asked {
		if ctx.Err() != nil {
			break
		}
		r.byHand = true
		targets, known := f.resolve(ctx, r)
		results = append(results, f.carryOut(ctx, job{revision: r, targets: targets, plan: plan.Request(known, r.isHead)}, &b, false))
	}
	return results, nil
}

// logOf is the log of an image of a channel, which is named where there are several.
func (f *Factory) logOf(channel, image string) *slog.Logger {
	log := f.Log.With("channel", channel)
	if image == "" || len(f.Config.Images) == 1 {
		return log
	}
	return log.With("imageName", image)
}

// carryOut does what is due and records how it ended.
func (f *Factory) carryOut(ctx context.Context, j job, b *bench, noBuild bool) Result {
	result := Result{Channel: j.plan.Channel, ImageName: j.plan.ImageName, Rev: j.plan.Rev, Action: j.plan.Action, Reason: j.plan.Reason, Published: []Published{}, Since: j.since}
	log := f.logOf(j.plan.Channel, j.plan.ImageName).With("rev", j.plan.Rev)
	err := j.plan.Err
	switch {
	case err != nil:
	case j.plan.Action == plan.None:
		if !j.quiet {
			log.Info(string(j.plan.Reason))
		}
		result.Published = published(j.targets)
		err = f.repairTags(ctx, j)
	case noBuild:
		log.Info("due, and left for others to build", "reason", j.plan.Reason)
	default:
		log.Info("building", "reason", j.plan.Reason)
		start := f.Now()
		j.began = f.Moved.Total()
		var done outcome
		done, err = f.build(ctx, j, b, log)
		result.Published, result.Stats, result.Index = published(done.targets), done.stats, done.index
		result.Stats.Took = f.Now().Sub(start)
		moved := f.moved(j)
		result.Stats.Fetched, result.Stats.Pushed = moved.Fetched, moved.Pushed
		switch {
		case err != nil:
		case done.unchanged:
			log.Info(string(plan.Unchanged))
			result.Action, result.Reason = plan.None, plan.Unchanged
		case allKept(done.targets):
			result.Action, result.Reason = plan.None, plan.Kept
		}
	}
	return f.recordFailure(ctx, result, err)
}

// maxError bounds the text of a failure, which has several causes in it at times.
const maxError = 2000

// recordFailure notes in the result and in the record what a job failed for, if
// it did.
func (f *Factory) recordFailure(ctx context.Context, result Result, err error) Result {
	if err == nil {
		return result
	}
	cutOff := ctx.Err() == context.DeadlineExceeded
	if cutOff {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	result.Err, result.Error = err, said.Begin(err.Error(), maxError)
	if ctx.Err() != nil && !cutOff {
		return result // being told to stop is no failure of the channel
	}
	if f.LogFailures {
		f.logOf(result.Channel, result.ImageName).Error("not published", "rev", result.Rev, "error", err)
	}
	failure, err := f.Store.Fail(record.Subject{Channel: result.Channel, ImageName: result.ImageName}, result.Rev, result.Error, f.Now())
	if err != nil {
		f.Log.Error("failure not recorded", "error", err)
	}
	result.Failed = failure.Count
	return result
}
