// Package factory runs the cycle from channel heads to published images:
//
//	heads ─► plan ─► source ─► toolset ─► closure ─► layers ─► image ─► publish ─► record
//
// Each step is a package of its own; this one calls them in order, one channel
// after the other, and keeps one channel's failure from the others.
package factory

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/nixcli"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// Factory is a configuration and what it takes to carry it out.
type Factory struct {
	Config config.Config
	Heads  *heads.Client
	Fetch  *fetch.Client
	Cache  *binarycache.Cache
	Store  *record.Store

	// Repository opens a channel's repository in a destination.
	Repository func(dest config.Destination, channel string) (registry.Repository, error)

	// Caches are filled with what is published.
	Caches []BinaryCache

	// Nix finds the Nix of this machine; asked only when something is built.
	Nix func(context.Context) (nixcli.Nix, error)

	Dir       string // for unfinished work; what is below it may be deleted
	ConfigDir string // where commands of the configuration run

	// NoBuild leaves what is due for others to build: a cycle only puts right
	// tags and the record of what is up to date.
	NoBuild bool

	// LookBack bounds the time in which a build looks for layers that it need
	// not make. 0: 20 seconds.
	LookBack time.Duration

	// Patient keeps channels that failed from being tried before their next
	// try is due.
	Patient bool

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
	Rev       string      `json:"rev"`
	Action    plan.Action `json:"action"`
	Reason    plan.Reason `json:"reason"`
	Published []Published `json:"published"`
	Error     string      `json:"error,omitempty"`

	Err    error     `json:"-"`
	Since  time.Time `json:"-"` // when the channel came to the commit, if that is its head
	Failed int       `json:"-"` // tries of the commit that failed in a row
	Stats  Stats     `json:"-"`
}

// Published is an image in a registry.
type Published struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
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

// Cycle looks at every channel once and publishes what is due. Every channel
// has a result, in the order of the configuration; a failure is in its result.
// No job is begun once stop is closed; stop may be nil.
func (f *Factory) Cycle(ctx context.Context, stop <-chan struct{}) ([]Result, error) {
	f.Cache.Forget()
	if err := workdir.Sweep(ctx, f.Dir); err != nil && ctx.Err() == nil {
		f.Log.Warn("what killed builds left behind is not removed", "error", err)
	}
	due, err := f.survey(ctx)
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, d := range due {
		select {
		case <-stop:
			return results, nil
		default:
		}
		if ctx.Err() != nil {
			return results, nil
		}
		if result := f.carryOut(ctx, d); !d.quiet || result.Err != nil {
			results = append(results, result)
		}
	}
	return results, nil
}

// Plan returns what Cycle would do.
func (f *Factory) Plan(ctx context.Context) ([]plan.Job, error) {
	due, err := f.survey(ctx)
	if err != nil {
		return nil, err
	}
	jobs := []plan.Job{}
	for _, d := range due {
		if !d.quiet {
			f.foresee(ctx, &d)
			jobs = append(jobs, d.job)
		}
	}
	return jobs, nil
}

// Rebuild builds and publishes a channel's image whatever the plan says: of
// its head, or of the commit rev. Moving tags move only if that is the head.
func (f *Factory) Rebuild(ctx context.Context, channel, rev string) (Result, error) {
	d, err := f.requested(ctx, channel, rev)
	if err != nil {
		return Result{}, err
	}
	return f.carryOut(ctx, d), nil
}

// carryOut does what is due and records how it ended.
func (f *Factory) carryOut(ctx context.Context, d due) Result {
	result := Result{Channel: d.job.Channel, Rev: d.job.Rev, Action: d.job.Action, Reason: d.job.Reason, Published: []Published{}, Since: d.since}
	log := f.Log.With("channel", d.job.Channel, "rev", d.job.Rev)
	err := d.job.Err
	switch {
	case err != nil:
	case d.job.Action == plan.None:
		if !d.quiet {
			log.Info(string(d.job.Reason))
		}
		result.Published = d.published()
		err = f.settle(ctx, d)
	case f.NoBuild:
		log.Info("due, and left for others to build", "reason", d.job.Reason)
	default:
		log.Info("building", "reason", d.job.Reason)
		start, fetched, pushed := f.Now(), f.Moved.Fetched.Load(), f.Moved.Pushed.Load()
		result.Stats, err = f.make(ctx, &d, log)
		result.Published = d.published()
		result.Stats.Took = f.Now().Sub(start)
		result.Stats.Fetched = f.Moved.Fetched.Load() - fetched
		result.Stats.Pushed = f.Moved.Pushed.Load() - pushed
		if err == nil && d.kept() {
			result.Action, result.Reason = plan.None, plan.Kept
		}
	}
	f.conclude(ctx, &result, err)
	return result
}

// maxError bounds the text of a failure, which has several causes in it at times.
const maxError = 2000

// conclude notes in the result and in the record how a job ended.
func (f *Factory) conclude(ctx context.Context, result *Result, err error) {
	if err == nil {
		return
	}
	cutOff := ctx.Err() == context.DeadlineExceeded
	if cutOff {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	result.Err, result.Error = err, said.Begin(err.Error(), maxError)
	if ctx.Err() != nil && !cutOff {
		return // being told to stop is no failure of the channel
	}
	if f.LogFailures {
		f.Log.Error("not published", "channel", result.Channel, "rev", result.Rev, "error", err)
	}
	failure, err := f.Store.Fail(result.Channel, result.Rev, result.Error, f.Now())
	if err != nil {
		f.Log.Error("failure not recorded", "error", err)
	}
	result.Failed = failure.Count
}
