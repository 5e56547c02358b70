package cycle

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// sender has the layers of a job sent to every target as soon as they are there,
// while others are being made. They are blobs that nothing names: what names them,
// manifests and tags, is sent once all of the image was checked.
type sender struct {
	targets []target
	slots   []chan struct{} // of each target, for the layers on their way to it
	now     func() time.Time
	task    func() progress.Task // begins to show that something is sent

	absent []atomic.Int32 // by target: how many new layers in a row it did not have

	mu    sync.Mutex
	begun map[v1.Hash]bool
	there map[v1.Hash]time.Time // seen or put in every target
	shown progress.Task         // nil before the first layer
}

// parallelSends bounds how many layers are on their way to a target at once. A new
// layer takes two to four requests one after the other, most of them for the sake of a
// few kilobytes.
const parallelSends = 8

// believed is for how long nobody asks again for a blob that was sent. A registry
// may clean up what no manifest names, some hours after it came.
const believed = 30 * time.Minute

func (f *Factory) sender(j job) *sender {
	s := &sender{
		targets: j.targets, now: f.Now,
		task:   func() progress.Task { return f.Progress.Start(j.label+" pushing", 0) },
		absent: make([]atomic.Int32, len(j.targets)),
		begun:  make(map[v1.Hash]bool), there: make(map[v1.Hash]time.Time),
	}
	for range j.targets {
		s.slots = append(s.slots, make(chan struct{}, parallelSends))
	}
	return s
}

// sendError says that a layer cannot be sent.
type sendError struct {
	to  string
	err error
}

func (e *sendError) Error() string { return fmt.Sprintf("publish: %s: %v", e.to, e.err) }
func (e *sendError) Unwrap() error { return e.err }

// send returns when all targets have the layer, or when somebody else sends it: then
// it is not mine.
func (s *sender) send(ctx context.Context, layer *layers.Layer) (mine bool, err error) {
	digest, err := layer.Digest()
	if err != nil || !s.begin(digest) {
		return false, err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.targets {
		group.Go(func() error { return s.sendTo(ctx, i, layer) })
	}
	if err := group.Wait(); err != nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there[digest] = s.now()
	return true, nil
}

// begin tells whether nobody sends the layer so far.
func (s *sender) begin(digest v1.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == nil {
		s.shown = s.task()
	}
	mine := !s.begun[digest]
	s.begun[digest] = true
	return mine
}

func (s *sender) sendTo(ctx context.Context, i int, layer *layers.Layer) error {
	select {
	case s.slots[i] <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.slots[i] }()
	if err := s.push(ctx, i, layer); err != nil {
		return &sendError{s.targets[i].ref, err}
	}
	return nil
}

// A layer that was made just now is in a registry only if an earlier attempt has sent
// it and then failed, and the largest were sent first. So after this many that were not
// there nobody asks for those of at most so many bytes.
const (
	convinced = 3
	smallSend = 1 << 20
)

func (s *sender) push(ctx context.Context, i int, layer *layers.Layer) error {
	repo, blob := s.targets[i].repo, layer.Blob()
	size, err := layer.Size()
	if err != nil {
		return err
	}
	if layer.Made() && size <= smallSend && s.absent[i].Load() >= convinced {
		_, err := repo.SendBlob(ctx, blob)
		return err
	}
	outcome, err := repo.PushBlob(ctx, blob)
	switch {
	case err != nil || !layer.Made():
	case outcome == registry.Sent:
		s.absent[i].Add(1)
	default:
		s.absent[i].Store(0)
	}
	return err
}

// recent are the layers that were sent so short a time ago that they are there.
func (s *sender) recent() []v1.Hash {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []v1.Hash
	for digest, at := range s.there {
		if s.now().Sub(at) < believed {
			list = append(list, digest)
		}
	}
	return list
}

// end says that no more layers come.
func (s *sender) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown != nil {
		s.shown.Done()
	}
}
