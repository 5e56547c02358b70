package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
)

// bench is a daemon in a bubble of virtual time, on a wall clock that can be set.
type bench struct {
	Options
	t      *testing.T
	offset atomic.Int64 // of the wall clock, nanoseconds
	hup    chan os.Signal
	log    bytes.Buffer

	starts  []string // wall clock times of cycles, minutes
	running int
	ctx     context.Context // of the cycle that began last

	// body is what a cycle does; n counts from 1.
	body func(ctx context.Context, n int) (time.Time, error)
}

const layout = "2006-01-02 15:04"

// newBench sets the wall clock to a time in UTC.
func newBench(t *testing.T, spec, clock string) *bench {
	t.Helper()
	b := &bench{t: t, hup: make(chan os.Signal, 1)}
	b.body = func(context.Context, int) (time.Time, error) { return time.Time{}, nil }
	at, err := time.Parse(layout, clock)
	if err != nil {
		t.Fatal(err)
	}
	b.offset.Store(int64(time.Until(at)))
	b.Options = Options{
		Schedule: parse(t, spec),
		Hup:      b.hup,
		Log: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
		Rand:  func() float64 { return 0.5 },
		Cycle: b.cycle,
		now:   b.wall,
	}
	return b
}

func parse(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bench) wall() time.Time { return time.Now().Add(time.Duration(b.offset.Load())).UTC() }

func (b *bench) cycle(ctx context.Context) (time.Time, error) {
	if b.running++; b.running != 1 {
		b.t.Errorf("%d cycles at once", b.running)
	}
	defer func() { b.running-- }()
	b.ctx = ctx
	b.starts = append(b.starts, b.wall().Format(layout))
	return b.body(ctx, len(b.starts))
}

// run runs the daemon for some virtual time, then stops it. It returns how long
// it took to stop.
func (b *bench) run(d time.Duration) time.Duration {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	asked := make(chan time.Time, 1)
	time.AfterFunc(d, func() {
		asked <- time.Now()
		cancel()
	})
	if err := Run(ctx, b.Options); err != nil {
		b.t.Errorf("Run = %v", err)
	}
	return time.Since(<-asked)
}

func (b *bench) want(starts ...string) {
	b.t.Helper()
	if diff := cmp.Diff(starts, b.starts); diff != "" {
		b.t.Errorf("cycles (-want +got):\n%s", diff)
	}
}

// wantLog wants lines of the log that contain the given texts, in that order.
func (b *bench) wantLog(texts ...string) {
	b.t.Helper()
	rest := b.log.String()
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			b.t.Errorf("log lacks %q at its place:\n%s", text, b.log.String())
			return
		}
		rest = after
	}
}

var hangUp os.Signal = syscall.SIGHUP

func hangUpAfter(b *bench, pauses ...time.Duration) {
	for _, d := range pauses {
		time.AfterFunc(d, func() { b.hup <- hangUp })
	}
}

// notify delivers a signal as os/signal does: it does not wait for a reader.
func notify(ch chan<- os.Signal) {
	select {
	case ch <- hangUp:
	default:
	}
}
