package verify

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// large is a store object of files that compress by half, as programs do. Nothing of
// it is in memory.
type large struct {
	seed  byte
	files int
	size  int64 // of a file
}

// write writes the NAR.
func (l large) write(to io.Writer) error {
	w := nar.NewWriter(to)
	if err := w.WriteEntry(nar.Entry{Kind: nar.Directory}); err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{l.seed})
	for i := range l.files {
		name := string([]byte{'a' + byte(i/26/26), 'a' + byte(i/26%26), 'a' + byte(i%26)})
		if err := w.WriteEntry(nar.Entry{Path: name, Kind: nar.Regular, Size: l.size}); err != nil {
			return err
		}
		for left := l.size; left > 0; left -= int64(len(block)) {
			random.Read(block[:len(block)/2])
			if _, err := w.Write(block[:min(left, int64(len(block)))]); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// generated are NARs that are written while they are read.
type generated struct {
	nars
	large map[nix.StorePath]large
}

func (g generated) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	l, ok := g.large[info.Path]
	if !ok {
		return g.nars.NAR(ctx, info)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.write(w)) }()
	return r, nil
}

type hashed struct {
	hash.Hash
	size int64
}

func (h *hashed) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	return h.Hash.Write(p)
}

// withLarge adds store objects to a sample.
func (s *sample) withLarge(t testing.TB, list ...large) {
	t.Helper()
	g := generated{s.nars, make(map[nix.StorePath]large)}
	for i, l := range list {
		l.seed = byte(i + 1)
		sum := &hashed{Hash: sha256.New()}
		if err := l.write(sum); err != nil {
			t.Fatal(err)
		}
		info := nix.PathInfo{NarHash: nix.Hash(sum.Sum(nil)), NarSize: sum.size}
		var err error
		if info.Path, err = nix.TextPath("large", info.NarHash, nil); err != nil {
			t.Fatal(err)
		}
		info.Sigs = []nix.Signature{key.Sign(info)}
		g.large[info.Path] = l
		s.closure, s.database, s.roots = append(s.closure, info), append(s.database, info), append(s.roots, info.Path)
	}
	s.from = g
}

// BenchmarkImage reads an image of 128 MiB in 4 layers.
func BenchmarkImage(b *testing.B) {
	s := good(b)
	s.withLarge(b, large{files: 500, size: 64 << 10}, large{files: 500, size: 64 << 10}, large{files: 1, size: 32 << 20}, large{files: 1, size: 32 << 20})
	index, options := s.index(b), s.options(b)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Image(b.Context(), Target{Index: index}, options)
		if err != nil || !r.Verified() {
			b.Fatal(err, text(b, r))
		}
		b.SetBytes(128 << 20)
	}
}
