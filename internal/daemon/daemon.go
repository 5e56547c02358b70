// Package daemon turns one cycle into a service: a cycle at the start, then one
// at each time of a schedule or when something that failed is due again; and
// says whether it is well (Health).
//
// There is never more than one cycle, and none begins after a stop was asked
// for. A cycle that is running then may finish within a grace; after that its
// context is cancelled, and it is waited for all the same.
//
// A panic of a cycle is not caught here: it goes up through Run. What a cycle
// left locked or half done in memory is unknown after a panic, and a daemon that
// lives on with it may hang without a sign. The program ends with the stack on
// stderr, its supervisor starts it again, and a new process has nothing to
// clean up but folders that nobody holds.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Options of a daemon. Schedule and Cycle are needed.
type Options struct {
	Schedule cron.Schedule
	Location *time.Location // that Schedule is meant in; nil: UTC

	Jitter time.Duration // each scheduled start is put off by a random part of it
	Grace  time.Duration // how long a stop waits for the running cycle before its context is cancelled
	Limit  time.Duration // the longest a cycle may take, then its context is cancelled; 0: no limit

	// Cycle is one cycle. It returns when the first of what failed is due again,
	// the zero time if nothing is. An error is one of the whole cycle; it is
	// logged, and the next cycle is the next try. Cycle is called on the
	// goroutine of Run.
	Cycle func(ctx context.Context) (next time.Time, err error)

	// Reload returns the options to go on with after a signal on Hup. It is
	// never called while a cycle runs. If it returns an error, the old options
	// stay; otherwise the old Cycle is not called again, a cycle by the new
	// options begins at once, and their schedule counts from then. Hup, Reload,
	// Log, Beat and Rand stay as they are where the new options have none.
	Reload func() (Options, error)
	Hup    <-chan os.Signal

	Log  *slog.Logger   // nil: no log
	Beat func()         // called at least once a minute while no cycle runs; may be nil
	Rand func() float64 // in [0,1), for Jitter; nil: that of math/rand

	now func() time.Time // wall clock
}

// Causes of a cancelled cycle, as context.Cause gives them.
var (
	ErrStopped = errors.New("stopped, and the grace period is over")
	ErrLimit   = errors.New("the cycle took longer than its limit")
)

// Run runs cycles until ctx is done, which asks for a stop. It returns nil
// after a stop, also after one that had to cancel a cycle. Its errors are those
// of options that nothing can be done with.
func Run(ctx context.Context, o Options) error {
	o = o.over(Options{
		Log:  slog.New(slog.DiscardHandler),
		Beat: func() {},
		Rand: rand.Float64,
		now:  time.Now,
	})
	if err := o.check(); err != nil {
		return err
	}
	d := daemon{Options: o}
	d.table = d.newTable()
	for ctx.Err() == nil {
		retry := d.cycle(ctx)
		if ctx.Err() != nil {
			break
		}
		d.plan(retry)
		d.wait(ctx)
	}
	d.Log.Info("stopped")
	return nil
}

// over fills in what may be left out from the options before.
func (o Options) over(before Options) Options {
	if o.Hup == nil {
		o.Hup = before.Hup
	}
	if o.Reload == nil {
		o.Reload = before.Reload
	}
	if o.Log == nil {
		o.Log = before.Log
	}
	if o.Beat == nil {
		o.Beat = before.Beat
	}
	if o.Rand == nil {
		o.Rand = before.Rand
	}
	if o.now == nil {
		o.now = before.now
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Schedule == nil:
		return errors.New("no schedule")
	case o.Cycle == nil:
		return errors.New("no cycle")
	case o.Jitter < 0 || o.Grace < 0 || o.Limit < 0:
		return errors.New("negative duration")
	}
	return nil
}

// daemon is a running one.
type daemon struct {
	Options
	table timetable
}

// clock returns the wall clock's time. Schedules are meant by it, so what the
// monotonic clock says, which stands still while a machine sleeps, is cut off.
func (d *daemon) clock() time.Time { return d.now().Round(0) }

func (d *daemon) newTable() timetable {
	return newTimetable(schedule{d.Schedule, d.Location}, d.Jitter, d.Rand, d.clock())
}

// plan settles when the next cycle begins and says so.
func (d *daemon) plan(retry time.Time) {
	now := d.clock()
	if missed := d.table.start; d.table.advance(now) {
		d.Log.Warn("a cycle was still running at the next scheduled start, which is skipped", "start", stamp(missed))
	}
	d.table.retryAt(retry, now)
	start, why := d.table.next()
	if start.IsZero() {
		d.Log.Warn("no next cycle: the schedule names no time in the future")
		return
	}
	d.Log.Info("waiting", "next", stamp(start), "for", why)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// glance is how often a waiting daemon looks at the wall clock, which may be
// set, and may have gone on while the machine slept.
const glance = time.Minute

// wait returns when a cycle should begin or a stop is asked for.
func (d *daemon) wait(ctx context.Context) {
	for ctx.Err() == nil {
		d.Beat()
		now := d.clock()
		d.table.look(now)
		pause := d.table.pause(now)
		switch d.sleep(ctx, min(pause, glance)) {
		case hup:
			if d.reload() {
				return
			}
		case awake:
			if pause <= 0 {
				d.table.advance(now)
				return
			}
		}
	}
}

// What ends a sleep.
type wakeUp int

const (
	stop wakeUp = iota
	hup
	awake // it was long enough
)

// sleep lets time pass. A signal that is already there comes before everything,
// so that no cycle begins with options that somebody has asked to replace.
func (d *daemon) sleep(ctx context.Context, pause time.Duration) wakeUp {
	select {
	case <-d.Hup:
		return hup
	default:
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return stop
	case <-d.Hup:
		return hup
	case <-timer.C:
		return awake
	}
}

// reload takes new options, and tells whether there are some.
func (d *daemon) reload() bool {
	if d.Reload == nil {
		d.Log.Warn("asked to reload, but there is nothing to reload")
		return false
	}
	o, err := d.Reload()
	if err == nil {
		o = o.over(d.Options)
		err = o.check()
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			d.Log.Error("not reloaded", "error", line)
		}
		d.Log.Warn("going on with the old configuration")
		return false
	}
	d.Options = o
	d.table = d.newTable()
	d.Log.Info("reloaded")
	return true
}
