package source

import (
	"bytes"
	"crypto/sha256"
	"io"
	"path/filepath"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// FuzzRead gives arbitrary tar streams to the reader. What it accepts must be a NAR in the eyes of a strict reader,
// with the announced hash and size, and the same tree again when unpacked.
func FuzzRead(f *testing.F) {
	for _, members := range [][]member{
		orders, allKinds, below("t", allKinds),
		{regular("t/a", "1"), hardlink("t/b", "t/a"), symlink("t/c", "b"), hardlink("t/d", "t/c")},
		{hardlink("t/a", "t/b"), hardlink("t/b", "t/c"), program("t/c", "1")},
		{regular("t/\xff", "1"), regular("t/.../-/x", "2"), regular("t/a", "3"), dir("t/a/")},
	} {
		f.Add(tarOf(f, members...))
	}
	tmp := f.TempDir()
	f.Fuzz(func(t *testing.T, stream []byte) {
		limits := Limits{Unpacked: 1 << 20, Files: 200}
		tree, err := readTar(t.Context(), bytes.NewReader(stream), Options{Dir: tmp, Limits: limits})
		if err != nil {
			return
		}
		defer tree.Close()
		var archive bytes.Buffer
		if err := tree.WriteNAR(&archive); err != nil {
			t.Fatal(err)
		}
		if got := nix.Hash(sha256.Sum256(archive.Bytes())); got != tree.NarHash || int64(archive.Len()) != tree.NarSize {
			t.Errorf("NAR has hash %v and %d bytes, tree says %v and %d", got, archive.Len(), tree.NarHash, tree.NarSize)
		}
		entries := 0
		for r := nar.NewReader(&archive, tree.NarSize); ; entries++ {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if entries != tree.Files+1 {
			t.Errorf("NAR has %d entries, tree %d below the first", entries, tree.Files)
		}
		if tree.TreeID.IsZero() {
			return
		}
		dir := filepath.Join(t.TempDir(), "tree")
		if err := tree.Unpack(dir); err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if err := nixtest.WritePath(h, dir); err != nil {
			t.Fatal(err)
		}
		if got := nix.Hash(h.Sum(nil)); got != tree.NarHash {
			t.Errorf("unpacked, NAR hash is %v, want %v", got, tree.NarHash)
		}
	})
}
