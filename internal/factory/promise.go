package factory

import (
	"context"
	"errors"
)

var errAbandoned = errors.New("abandoned")

// promise is a value that one goroutine makes and others wait for.
type promise[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func newPromise[T any]() *promise[T] {
	return &promise[T]{done: make(chan struct{}), err: errAbandoned}
}

func (p *promise[T]) settle(value T, err error) {
	p.value, p.err = value, err
	close(p.done)
}

func (p *promise[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-p.done:
		return p.value, p.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
