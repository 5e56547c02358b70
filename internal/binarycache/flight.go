package binarycache

import (
	"context"
	"errors"
	"sync"
)

// flight answers questions of type K. It asks each one once at a time,
// remembers answers and forgets errors. The zero value is ready for use.
type flight[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

// do returns the answer to key: the known one, that of whoever is asking now, or what ask returns.
func (f *flight[K, V]) do(ctx context.Context, key K, ask func() (V, error)) (V, error) {
	for {
		c, mine := f.join(key)
		if mine {
			c.value, c.err = ask()
			if c.err != nil {
				f.forget(key)
			}
			close(c.done)
			return c.value, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
		// Who was asking may have been cancelled; that is nobody else's error.
		cancelled := errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded)
		if !cancelled || ctx.Err() != nil {
			return c.value, c.err
		}
	}
}

func (f *flight[K, V]) join(key K) (c *call[V], mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, found := f.calls[key]; found {
		return c, false
	}
	if f.calls == nil {
		f.calls = make(map[K]*call[V])
	}
	c = &call[V]{done: make(chan struct{})}
	f.calls[key] = c
	return c, true
}

func (f *flight[K, V]) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

func (f *flight[K, V]) forget(key K) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.calls, key)
}
