// Package closure turns root store paths into the set of store objects that
// they need: the roots, what they refer to, and so on to the leaves.
//
// The result is complete (every reference of every object is an object of the
// result) and sorted by store path, whatever order the answers came in.
package closure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Infos answers what is known of a store path.
type Infos interface {
	Info(ctx context.Context, path nix.StorePath) (nix.PathInfo, error)
}

const (
	// parallel bounds the questions asked at once: a cache answers each in
	// a round trip, so depth, not bandwidth, is what takes time.
	parallel = 48

	// maxPaths bounds a closure that a hostile cache would let grow forever, and
	// what grouping it takes: 50 MB for so many. A NixOS desktop has some 5,000.
	maxPaths = 20_000
)

// Compute returns the closure of roots, sorted by store path.
// The first error ends the walk; it names the path that was asked for and,
// unless that is a root, one path that refers to it.
func Compute(ctx context.Context, infos Infos, roots []nix.StorePath) ([]nix.PathInfo, error) {
	group, ctx := errgroup.WithContext(ctx)
	w := walk{
		ctx:   ctx,
		group: group,
		infos: infos,
		slots: make(chan struct{}, parallel),
		found: make(map[nix.StorePath]*nix.PathInfo),
	}
	w.mu.Lock()
	w.visit(roots, nix.StorePath{})
	w.mu.Unlock()
	if err := group.Wait(); err != nil {
		return nil, err
	}
	closed := make([]nix.PathInfo, 0, len(w.found))
	for _, info := range w.found {
		closed = append(closed, *info)
	}
	slices.SortFunc(closed, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return closed, nil
}

// Size returns the sum of the NAR sizes, in bytes.
func Size(infos []nix.PathInfo) int64 {
	var sum int64
	for _, info := range infos {
		sum += info.NarSize
	}
	return sum
}

type walk struct {
	ctx   context.Context
	group *errgroup.Group
	infos Infos
	slots chan struct{}

	mu    sync.Mutex
	found map[nix.StorePath]*nix.PathInfo // nil value: asked for, no answer so far
}

var errTooLarge = errors.New("closure has more than 20,000 paths")

// visit asks for each path that has not been asked for. The caller holds mu.
func (w *walk) visit(paths []nix.StorePath, referrer nix.StorePath) {
	for _, path := range paths {
		if _, seen := w.found[path]; seen {
			continue
		}
		w.found[path] = nil
		if len(w.found) > maxPaths {
			w.group.Go(func() error { return errTooLarge })
			return
		}
		w.group.Go(func() error { return w.ask(path, referrer) })
	}
}

func (w *walk) ask(path, referrer nix.StorePath) error {
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	info, err := w.infos.Info(w.ctx, path)
	<-w.slots
	if err != nil && !referrer.IsZero() {
		return fmt.Errorf("%w (needed by %s)", err, referrer.Base())
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found[path] = &info
	w.visit(info.References, path)
	return nil
}
