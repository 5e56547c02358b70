package cycle_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/cycle"
)

// limited is a context whose deadline comes when a test says so.
type limited struct {
	context.Context
	over chan struct{}
}

func (l limited) Done() <-chan struct{} { return l.over }

func (l limited) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// What a cycle is doing when it is over its limit counts as failed, so that it has
// to wait; what it has not begun does not.
func TestLimitIsAFailureOfWhatWasRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	reached, free := w.holds(func(p string) bool { return strings.HasPrefix(p, "/codeload/") })
	ctx := limited{t.Context(), make(chan struct{})}
	go func() {
		<-reached
		close(ctx.over)
	}()
	f := w.open()
	results, err := f.Cycle(ctx, cycle.Options{})
	f.Store.Close()
	free()
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Channel != release || results[0].Failed != 1 ||
		!strings.HasPrefix(results[0].Error, "context deadline exceeded: source: ") {
		t.Errorf("results %+v", results)
	}
	if failures := w.failures(); len(failures) != 1 || failures[0].Channel != release {
		t.Errorf("failures %+v", failures)
	}
	w.now = w.now.Add(1)
	patient := w.open()
	defer patient.Store.Close()
	jobs, err := patient.Plan(t.Context(), cycle.Options{Patient: true})
	if err != nil {
		t.Fatal(err)
	}
	var due []string
	for _, j := range jobs {
		if j.Action == "build" {
			due = append(due, j.Channel)
		}
	}
	if got := strings.Join(due, " "); got != unstable {
		t.Errorf("due are %q, want %s: the other one waits", got, unstable)
	}
}
