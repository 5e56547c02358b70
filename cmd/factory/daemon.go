package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/daemon"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/metrics"
	"github.com/nixpkgs-factory/factory/internal/notify"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// service is a daemon and what watches it.
type service struct {
	*app
	state   string
	factory *cycle.Factory
	hooks   *notify.Webhooks
	metrics *metrics.Metrics
	health  *daemon.Health
}

func (a *app) runDaemon(ctx context.Context, o runOptions) error {
	if o.noBuild {
		return usageError{errors.New("--no-build goes with --once")}
	}
	if o.format != "text" {
		return usageError{errors.New("--output goes with --once: a daemon's results are in its log, in factory history and in its metrics")}
	}
	var listener net.Listener
	if o.listen != "" {
		var err error
		if listener, err = listen(o.listen); err != nil {
			return err
		}
		defer listener.Close()
	}
	f, hooks, err := a.prepare()
	if err != nil {
		return err
	}
	defer f.Store.Close()
	s := &service{
		app: a, state: f.Config.State, factory: f, hooks: hooks,
		health: daemon.NewHealth(time.Now),
	}
	s.metrics = metrics.New(metrics.Options{
		Fetched: a.moved.Fetched.Load,
		Pushed:  a.moved.Pushed.Load,
		Ready:   s.health.Ready,
		Build:   metrics.Build{Version: thisBuild.Version, Revision: thisBuild.Revision, Go: thisBuild.Go},
	})
	options, err := s.options(f.Config)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	options.Hup, options.Reload = hup, s.reload
	options.Log, options.Beat = f.Log, s.health.Beat
	if listener == nil {
		return daemon.Run(ctx, options)
	}
	f.Log.Info("serving /healthz, /readyz and /metrics", "address", listener.Addr().String())
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // probes work while a stop takes its time
	served := make(chan error, 1)
	go func() {
		served <- metrics.Serve(serving, listener, metrics.Routes(s.metrics, s.health.Alive, s.health.Ready))
	}()
	err = daemon.Run(ctx, options)
	stop()
	return errors.Join(err, <-served)
}

// options makes the daemon's options of a configuration, and tells those who
// watch what to expect.
func (s *service) options(c config.Config) (daemon.Options, error) {
	schedule, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		return daemon.Options{}, err
	}
	location, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return daemon.Options{}, err
	}
	o := daemon.Options{Schedule: schedule, Location: location, Jitter: c.Jitter, Grace: c.Grace, Limit: c.Limit, Cycle: s.cycle}
	var images []metrics.Image
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			images = append(images, metrics.Image{Channel: ch.Name, Name: i.Name()})
		}
	}
	s.factory.LogFailures = true
	s.metrics.Images(images)
	s.health.Bounds(o.Freshness(time.Now()), o.Limit)
	return o, nil
}

// reload reads the configuration again. Nothing changes unless all of it is
// good.
func (s *service) reload() (daemon.Options, error) {
	c, err := s.config(false)
	if err != nil {
		return daemon.Options{}, err
	}
	if c.State != s.state {
		return daemon.Options{}, fmt.Errorf("the state file cannot change while the daemon runs: it is %s, the new configuration says %s", s.state, c.State)
	}
	hooks, err := s.webhooks(c)
	if err != nil {
		return daemon.Options{}, err
	}
	f, err := s.wire(c, s.factory.Store)
	if err != nil {
		return daemon.Options{}, err
	}
	s.factory, s.hooks = f, hooks
	return s.options(c)
}

// cycle runs one cycle and says when the first of what failed is due again.
func (s *service) cycle(ctx context.Context) (time.Time, error) {
	s.health.Begin()
	start := time.Now()
	results, err := s.factory.Cycle(ctx, cycle.Options{Patient: true, Stop: daemon.Stopping(ctx)})
	cut := cutOff(ctx)
	if cut != nil {
		err = cut
	}
	result := metrics.Done
	inARow := failuresInARow(results)
	for _, r := range results {
		r.Failed = inARow[imageOf(r)]
		s.measure(ctx, r)
		if r.Err != nil {
			result = metrics.Failed
		}
	}
	switch {
	case ctx.Err() != nil:
		result = metrics.Abandoned
	case err != nil:
		result = metrics.Failed
	}
	s.metrics.Cycle(result, time.Since(start))
	rate := s.factory.Heads.Rate()
	s.metrics.Rate(rate.Limit, rate.Remaining, rate.Reset)
	telling := ctx
	if cut != nil { // those who are told have a limit of their own
		telling = context.WithoutCancel(ctx)
	}
	changes := make([]*diff.Diff, len(results))
	if !s.hooks.None() {
		changes = s.changes(telling, s.factory, results)
	}
	tell(telling, s.factory, s.hooks, results, changes)
	if cut != nil {
		s.health.CutOff(cut)
		return s.nextTry(start)
	}
	unasked := unasked(results)
	if ctx.Err() == nil && err == nil {
		s.health.Asked(unasked)
	}
	s.health.End(cmp.Or(err, unasked))
	if err != nil {
		return time.Time{}, err
	}
	return s.nextTry(start)
}

func imageOf(r cycle.Result) metrics.Image {
	return metrics.Image{Channel: r.Channel, Name: r.ImageName}
}

// failuresInARow returns the longest row of failures of each image: one commit
// may fail beside another.
func failuresInARow(results []cycle.Result) map[metrics.Image]int {
	longest := make(map[metrics.Image]int)
	for _, r := range results {
		longest[imageOf(r)] = max(longest[imageOf(r)], r.Failed)
	}
	return longest
}

// cutOff returns the limit that has ended a cycle, nil if none did.
func cutOff(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, daemon.ErrLimit) {
		return cause
	}
	return nil
}

// unasked tells whether no channel of a cycle could be asked, upstream or in a
// registry, and why not. Those that are frozen are not asked.
func unasked(results []cycle.Result) (why error) {
	for _, r := range results {
		switch {
		case r.Reason == plan.Frozen, r.Reason == plan.Gone:
		case r.Err == nil || r.Reason != "": // what was decided was known
			return nil
		case why == nil:
			why = r.Err
		}
	}
	return why
}

// nextTry returns when the first of what failed is due again. What was due
// before the cycle began is nothing that a cycle tries any more.
func (s *service) nextTry(begun time.Time) (time.Time, error) {
	failures, err := s.factory.Store.Failures()
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	for _, f := range failures {
		ch, err := s.factory.Channel(f.Channel)
		if err != nil || ch.Frozen || f.Next.Before(begun) {
			continue // the state remembers channels that are followed no more
		}
		if next.IsZero() || f.Next.Before(next) {
			next = f.Next
		}
	}
	return next, nil
}

func (s *service) measure(ctx context.Context, r cycle.Result) {
	m := s.metrics
	if !r.Since.IsZero() {
		m.Head(r.Channel, r.Rev, r.Since)
	}
	if r.Reason == plan.Gone || !r.Since.IsZero() {
		m.Gone(r.Channel, r.Reason == plan.Gone)
	}
	built := metrics.Done
	switch {
	case r.Err != nil && ctx.Err() != nil && cutOff(ctx) == nil:
		built = metrics.Abandoned
	case r.Err != nil:
		built = metrics.Failed
		m.Failed(imageOf(r), r.Failed)
	case r.Reason == plan.NewCommit || r.Reason == plan.Backfill:
		m.Published(imageOf(r), r.Rev, time.Now())
	case !r.Rev.IsZero() && r.Reason != plan.Waiting && r.Reason != plan.Frozen && r.Reason != plan.Gone:
		m.UpToDate(imageOf(r), r.Rev)
	}
	if r.Action != plan.None {
		m.Built(imageOf(r), built, r.Stats.Took, r.Stats.Layers, r.Stats.ReusedLayers)
	}
}
