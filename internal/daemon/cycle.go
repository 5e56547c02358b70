package daemon

import (
	"context"
	"fmt"
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

// WithLimit returns a context that ends with ErrLimit when a cycle has taken too
// long; 0 is no limit.
func WithLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w of %v", ErrLimit, limit))
}

// cycle runs one cycle and returns when something of it should be tried again.
func (d *daemon) cycle(asked context.Context) (retry time.Time) {
	ctx := context.WithValue(context.WithoutCancel(asked), stoppingKey{}, asked.Done())
	ctx, free := WithLimit(ctx, d.Limit)
	defer free()
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
	d.Log.Info("stopping once the running cycle has ended", "grace", d.Grace)
	timer := time.NewTimer(d.Grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		d.Log.Warn("the grace period is over: the running cycle is cancelled")
		cancel(ErrStopped)
	}
}
