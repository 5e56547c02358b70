package fetch

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// BodyError says that a request's own body could not be read, which is no fault
// of the server.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return e.Err.Error() }

// Unwrap returns what the body's Read, or what opens it, returned.
func (e *BodyError) Unwrap() error { return e.Err }

// outgoing is the bodies of one request: a transport that sends it anew over
// another connection asks for another one.
type outgoing struct {
	ctx  context.Context
	open func(context.Context) (io.ReadCloser, error)

	mu     sync.Mutex
	bodies []*outBody
	err    error // of open
}

// next opens a body. It is the request's GetBody.
func (o *outgoing) next() (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(o.ctx)
	src, err := o.open(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		stop()
		if o.ctx.Err() != nil {
			return nil, o.ctx.Err()
		}
		o.err = &BodyError{err}
		return nil, o.err
	}
	body := &outBody{src: src, stop: stop}
	o.bodies = append(o.bodies, body)
	return body, nil
}

func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, body := range o.bodies {
		body.Close()
	}
}

// broken returns why a body could not be read.
func (o *outgoing) broken() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, body := range o.bodies {
		if err := body.broken(); err != nil {
			return &BodyError{err}
		}
	}
	return o.err
}

// outBody is a body on its way. A transport may go on reading it when the
// request is over, and src is not for that.
type outBody struct {
	stop func() // makes a Read of src return
	over atomic.Bool

	mu     sync.Mutex // while src is in use
	src    io.ReadCloser
	closed bool
	err    error // of src, unless we made it fail
}

func (b *outBody) Read(p []byte) (int, error) {
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
func (b *outBody) Close() error {
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

func (b *outBody) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
