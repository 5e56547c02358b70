package cycle

import (
	"context"
	"fmt"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// verdict is whether an image has to be made, which what is evaluated for its
// systems says. One with nixpkgs has to be made, whatever comes of the other
// systems. Of one without it all systems have to be known first: it may be there
// already.
type verdict struct {
	systems []config.System
	settle  func([]evaluated) (bool, error) // nil: it has to be made

	mu   sync.Mutex
	sets []evaluated // of systems that were evaluated
	left int

	known  chan struct{} // closed when what follows is set
	due    bool
	err    error
	once   sync.Once
	wanted context.Context // ends when nixpkgs turns out not to be in the image
	end    context.CancelFunc
}

func newVerdict(ctx context.Context, systems []config.System, settle func([]evaluated) (bool, error)) *verdict {
	v := &verdict{systems: systems, settle: settle, sets: make([]evaluated, len(systems)), left: len(systems), known: make(chan struct{})}
	v.wanted, v.end = context.WithCancel(ctx)
	return v
}

// join adds what was evaluated for a system, and returns whether to make its image
// once that is known.
func (v *verdict) join(ctx context.Context, i int, e evaluated) (due bool, err error) {
	all, err := v.add(i, e)
	switch {
	case err != nil:
		return false, err
	case e.set.HasNixpkgs():
		v.pass(true, nil)
	default:
		v.end()
		if all && v.settle == nil {
			v.pass(true, nil)
		} else if all {
			v.pass(v.settle(v.sets))
		}
	}
	select {
	case <-v.known:
		return v.due, v.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// add notes what was evaluated. Whether nixpkgs is in the image cannot depend on the
// system.
func (v *verdict) add(i int, e evaluated) (all bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for j, system := range v.systems {
		if v.sets[j].system == system && v.sets[j].set.HasNixpkgs() != e.set.HasNixpkgs() {
			return false, fmt.Errorf("%s: toolset: nixpkgs is in the image of one of %v, and not in that of another", e.system.Nix, v.systems)
		}
	}
	v.sets[i] = e
	v.left--
	return v.left == 0, nil
}

func (v *verdict) pass(due bool, err error) {
	v.once.Do(func() {
		v.due, v.err = due, err
		close(v.known)
	})
}

// wait returns whether nixpkgs is in the image, and the image has to be made.
func (v *verdict) wait(ctx context.Context) (bool, error) {
	select {
	case <-v.known:
		return v.due && v.wanted.Err() == nil, v.err
	case <-v.wanted.Done():
		return false, ctx.Err()
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
