package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A reload while a stop is under way changes nothing any more.
func TestStopBeatsReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.Grace = time.Hour
		b.Reload = func() (Options, error) {
			t.Error("reloaded")
			return b.Options, nil
		}
		b.body = func(ctx context.Context, _ int) (time.Time, error) {
			<-Stopping(ctx)
			b.hup <- hangUp
			time.Sleep(time.Minute)
			return time.Time{}, nil
		}
		b.run(time.Minute)
		b.want("2026-11-20 16:50")
		if len(b.hup) != 1 {
			t.Error("the signal was taken")
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		loads := 0
		next := newBench(t, "@every 30m", "2026-11-20 16:50")
		b.Reload = func() (Options, error) {
			loads++
			// Only what is needed: the rest stays as it is, the signal too.
			return Options{Schedule: next.Schedule, Cycle: next.cycle}, nil
		}
		hangUpAfter(b, 10*time.Minute, 75*time.Minute)
		b.run(110 * time.Minute)
		b.want("2026-11-20 16:50")
		next.want("2026-11-20 17:00", "2026-11-20 17:30", "2026-11-20 18:00", "2026-11-20 18:05", "2026-11-20 18:35")
		if loads != 2 {
			t.Errorf("%d reloads, want 2", loads)
		}
		b.wantLog("msg=reloaded", "msg=reloaded")
	})
}

func TestReloadBadFile(t *testing.T) {
	tests := []struct {
		name   string
		reload func() (Options, error)
		log    []string
	}{
		{"errors", func() (Options, error) {
			return Options{}, errors.Join(errors.New("channels.yaml:3:1: first"), errors.New("channels.yaml:9:1: second"))
		}, []string{`level=ERROR msg="not reloaded" error="channels.yaml:3:1: first"`, `error="channels.yaml:9:1: second"`, "going on with the old"}},
		{"options that are none", func() (Options, error) { return Options{}, nil }, []string{`error="no schedule"`, "going on with the old"}},
		{"no reload", nil, []string{"nothing to reload"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "47 * * * *", "2026-11-20 16:50")
				b.Jitter = 10 * time.Minute
				// Nothing is drawn again: the start stays where it was.
				draws := []float64{0.5, 0.25, 0}
				b.Rand = func() float64 { r := draws[0]; draws = draws[1:]; return r }
				b.Reload = tt.reload
				hangUpAfter(b, time.Minute, 2*time.Minute, 58*time.Minute)
				b.run(2*time.Hour + 5*time.Minute)
				b.want("2026-11-20 16:50", "2026-11-20 17:52", "2026-11-20 18:49")
				b.wantLog(tt.log...)
				b.wantLog(tt.log...)
			})
		})
	}
}

// A signal during a cycle is served after it, several as one, and before a
// cycle that is due by then.
func TestReloadDuringACycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.body = func(ctx context.Context, n int) (time.Time, error) {
			if n == 1 {
				for range 3 {
					time.Sleep(time.Minute)
					notify(b.hup)
				}
				time.Sleep(57 * time.Minute)
				if ctx.Err() != nil {
					t.Errorf("cancelled: %v", ctx.Err())
				}
			}
			return b.wall(), nil
		}
		var loads []string
		b.Reload = func() (Options, error) {
			if b.running != 0 {
				t.Error("reloaded during a cycle")
			}
			loads = append(loads, b.wall().Format(layout))
			o := b.Options
			o.Schedule = parse(t, "@daily")
			return o, nil
		}
		b.run(60*time.Minute + 30*time.Second)
		b.want("2026-11-20 16:50", "2026-11-20 17:50")
		if len(loads) != 1 || loads[0] != "2026-11-20 17:50" {
			t.Errorf("reloads at %v", loads)
		}
	})
}

// A cycle that is due at the moment of a signal is one by the new options.
func TestReloadBeatsTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		next := newBench(t, "@daily", "2026-11-20 16:50")
		b.Reload = func() (Options, error) { return next.Options, nil }
		b.Beat = func() {
			if b.wall().Format(layout) == "2026-11-20 17:47" {
				notify(b.hup)
			}
		}
		b.run(58 * time.Minute)
		b.want("2026-11-20 16:50")
		next.want("2026-11-20 17:47")
	})
}
