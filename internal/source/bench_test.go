package source

import (
	"bytes"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

// nixpkgsSized is an archive as large as nixpkgs, and the number of bytes in its files.
var nixpkgsSized = sync.OnceValue(func() []byte {
	var buf bytes.Buffer
	if err := sourcetest.Write(&buf, sourcetest.Options{}); err != nil {
		panic(err)
	}
	return buf.Bytes()
})

func BenchmarkRead(b *testing.B) {
	archive := nixpkgsSized()
	for b.Loop() {
		t, err := Read(b.Context(), bytes.NewReader(archive), Options{Name: "archive", Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(t.NarSize)
		t.Close()
	}
}

// BenchmarkNix is what Nix takes for the same result.
func BenchmarkNix(b *testing.B) {
	archive := nixpkgsSized()
	size := readNixpkgsSized(b).NarSize
	for b.Loop() {
		newNixStore(b).prefetch(b, archive)
		b.SetBytes(size)
	}
}

// BenchmarkGunzip is the part of Read that one processor must do alone.
func BenchmarkGunzip(b *testing.B) {
	archive := nixpkgsSized()
	for b.Loop() {
		var n count
		if err := gunzip(&n, bytes.NewReader(archive), 1<<30); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(n))
	}
}

func BenchmarkHash(b *testing.B) {
	t := readNixpkgsSized(b)
	b.SetBytes(t.NarSize)
	for b.Loop() {
		if err := t.hash(b.Context(), 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteNAR(b *testing.B) {
	t := readNixpkgsSized(b)
	b.SetBytes(t.NarSize)
	for b.Loop() {
		if err := t.WriteNAR(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	t := readNixpkgsSized(b)
	b.SetBytes(t.NarSize)
	for b.Loop() {
		if err := t.Unpack(filepath.Join(b.TempDir(), "tree")); err != nil {
			b.Fatal(err)
		}
	}
}

func readNixpkgsSized(b *testing.B) *Tree {
	b.Helper()
	t, err := Read(b.Context(), bytes.NewReader(nixpkgsSized()), Options{Name: "archive", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { t.Close() })
	return t
}

type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}
