package source

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// hashNAR returns hash and size of the NAR that has the steps of a walk. More than limit bytes are an error.
func hashNAR(ctx context.Context, walk iter.Seq[step], w *window, limit int64) (nix.Hash, int64, error) {
	sum := &narSum{ctx: ctx, hash: sha256.New(), limit: limit}
	out := nar.NewWriter(sum)
	r := reader{window: w}
	err := func() error {
		for s := range walk {
			e, content := r.entry(s)
			if err := writeEntry(out, e, content); err != nil {
				return err
			}
		}
		return out.Close()
	}()
	if sum.err != nil {
		err = sum.err
	}
	return nix.Hash(sum.hash.Sum(nil)), sum.size, err
}

// narSum is what a NAR is written to. It has an error of its own, for that of a writer names an entry.
type narSum struct {
	ctx   context.Context
	hash  hash.Hash
	size  int64
	limit int64
	err   error
}

func (s *narSum) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.err = context.Cause(s.ctx); s.err == nil && s.size > s.limit {
		s.err = fmt.Errorf("NAR is larger than %d bytes", s.limit)
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.hash.Write(p)
}

// ahead hashes the NAR of a tree while its archive is read: on a goroutine of its own, which follows the order
// of the tree and reads in the spool what is written of it.
type ahead struct {
	order   order
	batches chan batch
	given   int   // steps that were in a batch
	written int64 // bytes of the spool that the last batch could count on
	ended   bool
	cancel  context.CancelFunc

	group errgroup.Group
	hash  nix.Hash // with size and err: what the steps come to, when the group has ended
	size  int64
	err   error
}

// batch is the next steps, whose contents are in the first bytes of the spool.
type batch struct {
	steps   []step
	written int64
}

// newAhead begins with the NAR of a tree below top. It must be stopped.
func newAhead(ctx context.Context, top *node, s *spool, limit int64) *ahead {
	a := &ahead{order: newOrder(top), batches: make(chan batch, 16)}
	ctx, a.cancel = context.WithCancel(ctx)
	w := s.window()
	a.group.Go(func() error {
		a.hash, a.size, a.err = hashNAR(ctx, a.walk(w), w, limit)
		for range a.batches { // after an error
		}
		return nil
	})
	return a
}

// walk has the steps of all batches, as they come.
func (a *ahead) walk(w *window) iter.Seq[step] {
	return func(yield func(step) bool) {
		for b := range a.batches {
			w.size = b.written
			for _, s := range b.steps {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// follow hands over the steps that are known by now if more is written than the last time.
func (a *ahead) follow(written int64) {
	if written > a.written {
		a.written = written
		a.hand()
	}
}

func (a *ahead) hand() {
	if a.order.lost {
		return
	}
	next := a.given
	for ; next < len(a.order.steps); next++ {
		if f := a.order.steps[next].node.file; f != nil && f.offset+f.size > a.written {
			break
		}
	}
	if next > a.given {
		a.batches <- batch{a.order.steps[a.given:next], a.written}
		a.given = next
	}
}

// end follows a tree that is complete, in a spool that is written.
func (a *ahead) end(s *spool) {
	a.order.complete()
	a.written = s.written
	a.hand()
	a.ended = true
	close(a.batches)
}

// result returns hash and size of the NAR, after the end.
// It is true only if the steps were those of the tree at root, which is complete: the same nodes at the same depths.
// They have not changed since they were hashed, for there is no hardLink among the steps of an order that is not lost.
func (a *ahead) result(root *node) (hash nix.Hash, size int64, ok bool, err error) {
	if a.order.lost {
		return hash, 0, false, nil
	}
	a.group.Wait()
	rest := a.order.steps[:a.given]
	for s := range root.steps {
		if len(rest) == 0 || rest[0] != s {
			return hash, 0, false, nil
		}
		rest = rest[1:]
	}
	return a.hash, a.size, len(rest) == 0, a.err
}

// stop ends the goroutine.
func (a *ahead) stop() {
	a.cancel()
	if !a.ended {
		a.ended = true
		close(a.batches)
	}
	a.group.Wait()
}
