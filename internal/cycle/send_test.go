package cycle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// shop is a repository that remembers how many blobs were on their way at once.
type shop struct {
	registry.Repository
	open chan struct{} // closed when what is on its way may arrive
	err  error

	mu        sync.Mutex
	now, most int
	got       map[v1.Hash]int
}

func newShop() *shop { return &shop{open: make(chan struct{}), got: map[v1.Hash]int{}} }

func (s *shop) PushBlob(ctx context.Context, layer v1.Layer) (registry.Outcome, error) {
	digest, err := layer.Digest()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.got[digest]++
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	select {
	case <-s.open:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	return registry.Sent, s.err
}

func (s *shop) SendBlob(context.Context, v1.Layer) (registry.Outcome, error) {
	panic("nobody asks, and nobody made the layer")
}

func blank(n int) *layers.Layer {
	return layers.Given(v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064d", n)}}, v1.Hash{}, nil)
}

func senderTo(clock *time.Time, shops ...*shop) *sender {
	j := job{}
	for i, s := range shops {
		j.targets = append(j.targets, target{repo: s, ref: fmt.Sprintf("registry-%d", i)})
	}
	f := &Factory{Progress: progress.Silent{}, Now: func() time.Time { return *clock }}
	return f.sender(j)
}

func TestSendsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := time.Unix(0, 0)
		one, two := newShop(), newShop()
		s := senderTo(&clock, one, two)
		var group errgroup.Group
		const n = 5 * parallelSends
		for i := range 2 * n { // each of them twice, as of two systems
			group.Go(func() error {
				_, err := s.send(t.Context(), blank(i%n))
				return err
			})
		}
		synctest.Wait() // until nobody can go on
		close(one.open)
		close(two.open)
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		s.end()
		for i, to := range []*shop{one, two} {
			to.sentOnce(t, n)
			if to.most != parallelSends {
				t.Errorf("%d layers were on their way to target %d at once, want %d", to.most, i, parallelSends)
			}
		}
		if got := len(s.recent()); got != n {
			t.Errorf("%d layers are said to be there, want %d", got, n)
		}
		clock = clock.Add(believed)
		if got := s.recent(); len(got) != 0 {
			t.Errorf("%v are believed to be there still", got)
		}
	})
}

// sentOnce expects n layers, each sent once.
func (s *shop) sentOnce(t *testing.T, n int) {
	t.Helper()
	for digest, times := range s.got {
		if times != 1 {
			t.Errorf("%s was sent %d times", digest, times)
		}
	}
	if len(s.got) != n {
		t.Errorf("%d of %d layers were sent", len(s.got), n)
	}
}

// A layer that one target has not got is not said to be there.
func TestSendFails(t *testing.T) {
	t.Parallel()
	clock := time.Unix(0, 0)
	good, bad := newShop(), newShop()
	close(good.open)
	close(bad.open)
	bad.err = errors.New("no space")
	s := senderTo(&clock, good, bad)
	_, err := s.send(t.Context(), blank(1))
	if err == nil || err.Error() != "publish: registry-1: no space" || !errors.Is(err, bad.err) {
		t.Errorf("error %v", err)
	}
	if got := inStep("x86_64-linux", inStep("layers", err)); got.Error() != err.Error() {
		t.Errorf("the error became %v", got)
	}
	if slices.Contains(s.recent(), blankDigest(t, 1)) {
		t.Error("the layer is said to be everywhere")
	}
}

func blankDigest(t *testing.T, n int) v1.Hash {
	digest, err := blank(n).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// warehouse is a repository that remembers by which way blobs came.
type warehouse struct {
	registry.Repository
	had map[v1.Hash]bool
	log []string
}

func (w *warehouse) PushBlob(_ context.Context, layer v1.Layer) (registry.Outcome, error) {
	digest, err := layer.Digest()
	if w.had[digest] {
		w.log = append(w.log, "asked, and was there")
		return registry.Present, err
	}
	w.log = append(w.log, "asked and sent")
	return registry.Sent, err
}

func (w *warehouse) SendBlob(context.Context, v1.Layer) (registry.Outcome, error) {
	w.log = append(w.log, "sent")
	return registry.Sent, nil
}

// Nobody goes on asking for new layers where there are none of an earlier attempt:
// except for large ones, and for those that were found elsewhere.
func TestSendAsksUntilConvinced(t *testing.T) {
	t.Parallel()
	packer := layers.Packer{Dir: t.TempDir(), Encoding: layers.Gzip}
	noise := rand.New(rand.NewPCG(1, 2))
	made := func(size int) *layers.Layer {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(noise.Uint32())
		}
		layer, err := packer.Files([]layers.File{{Path: "/file", Mode: 0o644, Data: data}}, "a test")
		if err != nil {
			t.Fatal(err)
		}
		return layer
	}
	sent := func(to *warehouse, all ...*layers.Layer) []string {
		s := (&Factory{Progress: progress.Silent{}, Now: time.Now}).sender(job{targets: []target{{repo: to}}})
		for _, layer := range all {
			if mine, err := s.send(t.Context(), layer); err != nil || !mine {
				t.Fatal(mine, err)
			}
		}
		return to.log
	}
	small := func() *layers.Layer { return made(1000) }
	const asked, there = "asked and sent", "asked, and was there"
	got := sent(&warehouse{}, small(), small(), small(), small(), made(smallSend), blank(1), small())
	if want := []string{asked, asked, asked, "sent", asked, asked, "sent"}; !slices.Equal(got, want) {
		t.Errorf("nothing is there: %q, want %q", got, want)
	}
	first, second := small(), small()
	digest, err := second.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got = sent(&warehouse{had: map[v1.Hash]bool{digest: true}}, first, small(), second, small(), small(), small(), small())
	if want := []string{asked, asked, there, asked, asked, asked, "sent"}; !slices.Equal(got, want) {
		t.Errorf("one is there: %q, want %q", got, want)
	}
}
