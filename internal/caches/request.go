package caches

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxAnswer     = 16 << 20 // bytes; one hash of a missing path takes some 35
	maxRetryAfter = time.Minute

	// answerStalls is for how many times Stall an answer may take when the
	// server has all it needs: it may have to finish compressing and storing.
	answerStalls = 5
)

// request is one call of the API, to be sent as often as it takes.
type request struct {
	method string
	url    *url.URL
	header http.Header
	size   int64 // of the body
	open   func(ctx context.Context) (io.ReadCloser, error)
}

// withoutBody and withJSON return what open gives.
func withoutBody(context.Context) (io.ReadCloser, error) { return http.NoBody, nil }

func withJSON(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// repeat calls f until it succeeds, fails for good, or has had its attempts.
func (s *session) repeat(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		var failed *Error
		if !errors.As(err, &failed) {
			return err
		}
		failed.Attempts = attempt
		if !failed.Temporary() || attempt >= s.Attempts || failed.retryAfter > maxRetryAfter {
			return err
		}
		pause := time.Duration(float64(s.Delay<<min(attempt-1, 10)) * (0.75 + 0.5*rand.Float64()))
		select {
		case <-time.After(max(pause, failed.retryAfter)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// once sends a request and returns what a good answer holds. An error that the
// same request may not meet again is an *Error.
func (s *session) once(ctx context.Context, r request) ([]byte, error) {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := &Error{Method: r.method, URL: r.url.String()}

	reading, stop := context.WithCancel(ctx)
	defer stop()
	src, err := r.open(reading)
	if err != nil {
		return nil, failed.because(ctx, within, &sourceError{err})
	}
	watch := newWatch(cancel)
	defer watch.rest()
	body := &sending{src: src, stop: stop, watch: watch, stall: s.Stall}
	defer body.Close()

	watch.expect(s.Stall)
	resp, err := s.send(within, r, body)
	if err != nil {
		if body.broken() != nil {
			err = &sourceError{body.broken()}
		}
		return nil, failed.because(ctx, within, err)
	}
	defer resp.Body.Close()
	watch.expect(s.Stall)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if resp.StatusCode/100 != 2 {
		failed.Status = resp.StatusCode
		failed.explain(resp.Header, data, s.Token)
		return nil, failed
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%s %s: answer of more than %d bytes", r.method, r.url, maxAnswer)
	}
	if err != nil && r.method != http.MethodPut { // what was put is there, whatever the rest of the answer
		return nil, failed.because(ctx, within, err)
	}
	return data, nil
}

func (s *session) send(ctx context.Context, r request, body io.ReadCloser) (*http.Response, error) {
	if r.size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = r.size
	maps.Copy(req.Header, r.header)
	req.Header.Set("Authorization", "bearer "+s.Token)
	req.Header.Set("User-Agent", cmp.Or(s.UserAgent, "nixpkgs-factory"))
	return s.http.Do(req)
}

// because finds out why a request failed: net/http reports a cancelled one in
// many ways, and repeats the URL.
func (e *Error) because(parent, within context.Context, err error) error {
	if parent.Err() != nil {
		return parent.Err()
	}
	var wrapped *url.Error
	var stalled stallError
	switch {
	case errors.As(context.Cause(within), &stalled):
		err = stalled
	case errors.As(err, &wrapped):
		err = wrapped.Err
	}
	e.Err = err
	return e
}

// sending is the body of a request on its way. Each time the transport comes
// for more, the server has taken what it was given before.
type sending struct {
	stop  func() // makes a Read of src return
	watch *watch
	stall time.Duration
	over  atomic.Bool

	mu     sync.Mutex // while src is in use
	src    io.ReadCloser
	closed bool
	err    error // of src, unless we made it fail
}

func (b *sending) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, errors.New("the request is over")
	}
	b.watch.rest() // it is not the server who is slow now
	n, err := b.src.Read(p)
	patience := b.stall
	if err == io.EOF {
		patience *= answerStalls
	} else if err != nil && !b.over.Load() {
		b.err = err
	}
	b.watch.expect(patience)
	return n, err
}

// Close ends a Read that is under way. After it, nothing is read from src.
func (b *sending) Close() error {
	b.over.Store(true)
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.src.Close()
}

// broken returns why the body could not be read.
func (b *sending) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// watch ends a request on which nothing moves.
type watch struct {
	timer    *time.Timer
	patience atomic.Int64
}

func newWatch(end context.CancelCauseFunc) *watch {
	w := &watch{}
	w.timer = time.AfterFunc(time.Hour, func() { end(stallError(w.patience.Load())) })
	return w
}

// expect gives the server so much time for what it has to do next.
func (w *watch) expect(patience time.Duration) {
	w.patience.Store(int64(patience))
	w.timer.Reset(patience)
}

// rest expects nothing.
func (w *watch) rest() { w.timer.Stop() }
