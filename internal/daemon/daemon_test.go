package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

func TestLongCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.body = func(_ context.Context, n int) (time.Time, error) {
			if n == 2 {
				time.Sleep(130 * time.Minute)
			}
			return time.Time{}, nil
		}
		b.run(5 * time.Hour)
		b.want("2026-11-20 16:50", "2026-11-20 17:47", "2026-11-20 20:47", "2026-11-20 21:47")
		b.wantLog("still running at the next scheduled start", "start=2026-11-20T18:47:00Z", "next=2026-11-20T20:47:00Z")
	})
}

func TestCycleFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.body = func(context.Context, int) (time.Time, error) {
			return time.Time{}, errors.New("recipe: no such folder")
		}
		b.run(time.Hour)
		b.want("2026-11-20 16:50", "2026-11-20 17:47")
		b.wantLog(`level=ERROR msg="cycle failed" error="recipe: no such folder"`, `msg="cycle failed"`)
	})
}

// A panic goes up to whoever called Run, and leaves no goroutine behind: the
// bubble would not end.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.body = func(_ context.Context, n int) (time.Time, error) {
			if n == 2 {
				panic("nil map")
			}
			return time.Time{}, nil
		}
		defer func() {
			if r := recover(); r != "nil map" {
				t.Errorf("recovered %v", r)
			}
			b.want("2026-11-20 16:50", "2026-11-20 17:47")
		}()
		t.Errorf("Run = %v", Run(t.Context(), b.Options))
	})
}

func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "@daily", "2026-11-20 16:50")
		last, longest, beats := time.Now(), time.Duration(0), 0
		b.Beat = func() {
			longest, last = max(longest, time.Since(last)), time.Now()
			beats++
		}
		b.run(5 * time.Hour)
		if longest > time.Minute || beats < 300 {
			t.Errorf("%d beats in 5 hours, the longest pause %v", beats, longest)
		}
	})
}

func TestBadOptions(t *testing.T) {
	good := Options{Schedule: cron.Every(time.Hour), Cycle: func(context.Context) (time.Time, error) {
		t.Error("a cycle with bad options")
		return time.Time{}, nil
	}}
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"schedule", func(o *Options) { o.Schedule = nil }, "no schedule"},
		{"cycle", func(o *Options) { o.Cycle = nil }, "no cycle"},
		{"jitter", func(o *Options) { o.Jitter = -1 }, "negative duration"},
		{"grace", func(o *Options) { o.Grace = -1 }, "negative duration"},
		{"limit", func(o *Options) { o.Limit = -1 }, "negative duration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			if err := Run(t.Context(), o); err == nil || err.Error() != tt.want {
				t.Errorf("Run = %v, want %s", err, tt.want)
			}
		})
	}
}

// The zero value of everything that may be left out has to do.
func TestFewOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		cycles := 0
		err := Run(ctx, Options{Schedule: cron.Every(time.Hour), Cycle: func(context.Context) (time.Time, error) {
			cycles++
			return time.Time{}, nil
		}})
		if err != nil || cycles != 3 {
			t.Errorf("Run = %v after %d cycles, want 3", err, cycles)
		}
	})
}

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	schedule, err := cron.ParseStandard("47 * * * *")
	if err != nil {
		panic(err)
	}
	err = Run(ctx, Options{
		Schedule: schedule,
		Grace:    time.Minute,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
		Cycle: func(ctx context.Context) (time.Time, error) {
			fmt.Println("a cycle")
			stop() // as SIGTERM does
			<-Stopping(ctx)
			fmt.Println("finishes, for its context is alive:", ctx.Err())
			return time.Time{}, nil
		},
	})
	fmt.Println("stopped:", err)
	// Output:
	// a cycle
	// finishes, for its context is alive: <nil>
	// stopped: <nil>
}
