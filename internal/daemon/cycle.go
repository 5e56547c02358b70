package daemon

import (
	"context"
	"sync"
	"time"
)

type stoppingKey struct{}

// Stopping returns a channel that is closed when a stop is asked for, while the
// grace of the running cycle lasts: what has begun may be finished, nothing more
// should be begun. Outside of a daemon's cycle it is nil, which never is ready.
func Stopping(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return ch
}

// cycle runs one cycle and returns when something of it should be tried again.
func (d *daemon) cycle(asked context.Context) (retry time.Time) {
	ctx := context.WithValue(context.WithoutCancel(asked), stoppingKey{}, asked.Done())
	if d.Limit > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, d.Limit, ErrLimit)
		defer cancel()
		ctx = limited
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	begun := time.Now()
	next, err := d.guarded(ctx, asked, cancel)
	took := time.Since(begun).Round(time.Millisecond)
	switch cause := context.Cause(ctx); {
	case cause != nil:
		d.Log.Warn("cycle abandoned", "cause", cause, "took", took)
	case err != nil:
		d.Log.Error("cycle failed", "error", err, "took", took)
	default:
		d.Log.Info("cycle done", "took", took)
	}
	return next
}

// guarded calls Cycle under the eyes of a guard, which is gone afterwards.
func (d *daemon) guarded(ctx, asked context.Context, cancel context.CancelCauseFunc) (time.Time, error) {
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { d.guard(asked, ended, cancel) })
	defer watch.Wait()
	defer close(ended)
	return d.Cycle(ctx)
}

// guard cancels the cycle when a stop is asked for and the grace is over.
func (d *daemon) guard(asked context.Context, ended <-chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-ended:
		return
	case <-asked.Done():
	}
	d.Log.Info("stopping when the running cycle has ended", "grace", d.Grace)
	timer := time.NewTimer(d.Grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		d.Log.Warn("the grace is over, the running cycle is cancelled")
		cancel(ErrStopped)
	}
}
