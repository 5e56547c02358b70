package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestStopBeforeTheFirstCycle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		if err := Run(ctx, b.Options); err != nil {
			t.Errorf("Run = %v", err)
		}
		b.want()
	})
}

func TestStopWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.Grace = time.Hour
		if took := b.run(10*time.Minute + time.Second); took != 0 {
			t.Errorf("the stop took %v", took)
		}
		b.want("2026-11-20 16:50")
	})
}

// A stop that comes at the very moment of a start.
func TestStopAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.run(57 * time.Minute)
		if n := len(b.starts); n != 1 && n != 2 || b.running != 0 {
			t.Errorf("%d cycles, %d running", n, b.running)
		}
	})
}

func TestStopDuringACycle(t *testing.T) {
	tests := []struct {
		name  string
		grace time.Duration
		work  time.Duration // of the cycle after the stop
		clean time.Duration // what it needs to end once it is cancelled
		cause error
		took  time.Duration
		log   string
	}{
		{"within the grace", 10 * time.Minute, 9 * time.Minute, 0, nil, 9 * time.Minute, "cycle done"},
		{"beyond the grace", 10 * time.Minute, time.Hour, 30 * time.Second, ErrStopped, 10*time.Minute + 30*time.Second, "the grace period is over"},
		{"no grace", 0, time.Hour, 0, ErrStopped, 0, "the grace period is over"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "47 * * * *", "2026-11-20 16:50")
				b.Grace = tt.grace
				var cause error
				b.body = func(ctx context.Context, _ int) (time.Time, error) {
					time.Sleep(5 * time.Minute)
					select {
					case <-Stopping(ctx):
						t.Error("told to stop before anybody asked")
					case <-ctx.Done():
						t.Error("cancelled before anybody asked")
					default:
					}
					<-Stopping(ctx)
					if tt.grace > 0 && ctx.Err() != nil {
						t.Errorf("cancelled at once: %v", ctx.Err())
					}
					select {
					case <-time.After(tt.work):
					case <-ctx.Done():
						time.Sleep(tt.clean)
					}
					cause = context.Cause(ctx)
					return b.wall(), ctx.Err()
				}
				if took := b.run(6 * time.Minute); took != tt.took {
					t.Errorf("the stop took %v, want %v", took, tt.took)
				}
				if !errors.Is(cause, tt.cause) {
					t.Errorf("cause %v, want %v", cause, tt.cause)
				}
				b.want("2026-11-20 16:50")
				b.wantLog("stopping once the running cycle has ended", tt.log, "msg=stopped")
			})
		})
	}
}

func TestStoppingElsewhere(t *testing.T) {
	if ch := Stopping(context.Background()); ch != nil {
		t.Errorf("Stopping = %v, want nil", ch)
	}
}

type valueKey struct{}

// What else the context carries reaches the cycle; its deadline asks for a stop
// and is no deadline of the cycle.
func TestCycleContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.Grace = time.Hour
		b.body = func(ctx context.Context, _ int) (time.Time, error) {
			if ctx.Value(valueKey{}) != "value" {
				t.Error("the value is lost")
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("the cycle has a deadline")
			}
			time.Sleep(10 * time.Minute)
			if ctx.Err() != nil {
				t.Errorf("cancelled: %v", ctx.Err())
			}
			return time.Time{}, nil
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), valueKey{}, "value"), time.Minute)
		defer cancel()
		if err := Run(ctx, b.Options); err != nil {
			t.Errorf("Run = %v", err)
		}
		if b.ctx.Err() == nil {
			t.Error("the context of a finished cycle lives on")
		}
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.Limit = 3 * time.Hour
		var cause error
		b.body = func(ctx context.Context, n int) (time.Time, error) {
			if n == 1 {
				<-ctx.Done()
				cause = context.Cause(ctx)
			}
			return time.Time{}, ctx.Err()
		}
		b.run(5 * time.Hour)
		b.want("2026-11-20 16:50", "2026-11-20 20:47", "2026-11-20 21:47")
		if !errors.Is(cause, ErrLimit) {
			t.Errorf("cause %v, want %v", cause, ErrLimit)
		}
		b.wantLog(`msg="cycle abandoned"`, "limit", "took=3h0m0s")
	})
}
