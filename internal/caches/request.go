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
	maxRetryAfter = 2 * time.Minute
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
	failed := &Error{Method: r.method, URL: r.url.String()}

	reading, stop := context.WithCancel(ctx)
	defer stop()
	src, err := r.open(reading)
	if err != nil {
		return nil, failed.because(ctx, &sourceError{err})
	}
	body := &sending{src: src, stop: stop}
	defer body.Close()
	resp, err := s.send(ctx, r, body)
	if err != nil {
		if body.broken() != nil {
			err = &sourceError{body.broken()}
		}
		return nil, failed.because(ctx, err)
	}
	defer resp.Body.Close()
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
		return nil, failed.because(ctx, err)
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
func (e *Error) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	e.Err = err
	return e
}

// sending is the body of a request on its way. A transport may go on reading it
// when the request is over, and src is not for that.
type sending struct {
	stop func() // makes a Read of src return
	over atomic.Bool

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
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF && !b.over.Load() {
		b.err = err
	}
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
