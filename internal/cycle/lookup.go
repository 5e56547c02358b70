package cycle

import (
	"context"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// lookup is a look for earlier images that goes on beside other work.
type lookup struct {
	find   func() reuse.Index
	begun  sync.Once
	done   chan struct{} // closed when found is set
	found  reuse.Index
	cancel context.CancelFunc // ends it, and reading what was found
}

func newLookup(ctx context.Context, find func(context.Context) reuse.Index) *lookup {
	using, cancel := context.WithCancel(ctx)
	return &lookup{find: func() reuse.Index { return find(using) }, done: make(chan struct{}), cancel: cancel}
}

// begin begins to look, unless somebody has.
func (l *lookup) begin() {
	l.begun.Do(func() {
		go func() {
			defer close(l.done)
			l.found = l.find()
		}()
	})
}

// wait returns what was found.
func (l *lookup) wait(ctx context.Context) (reuse.Index, error) {
	l.begin()
	select {
	case <-l.done:
		return l.found, nil
	case <-ctx.Done():
		return reuse.Index{}, ctx.Err()
	}
}

// end returns once nobody looks any more. What was found cannot be read from then on.
func (l *lookup) end() {
	l.cancel()
	l.begun.Do(func() { close(l.done) })
	<-l.done
}
