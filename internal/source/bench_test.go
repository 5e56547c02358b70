package source

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

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

// BenchmarkHash is what an archive in another order than git's has to wait for when it has been read.
func BenchmarkHash(b *testing.B) {
	t := readNixpkgsSized(b)
	b.SetBytes(t.NarSize)
	for b.Loop() {
		if _, _, err := hashNAR(b.Context(), t.root.steps, t.spool.window(), 1<<40); err != nil {
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

// BenchmarkUnpack writes into the folder for temporary files, and into memory.
func BenchmarkUnpack(b *testing.B) {
	t := readNixpkgsSized(b)
	for name, where := range map[string]string{"temporary-folder": os.TempDir(), "memory": "/dev/shm"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				dir, err := os.MkdirTemp(where, "bench-unpack-*")
				if err != nil {
					b.Skip(err)
				}
				if err := errors.Join(t.Unpack(dir), os.RemoveAll(dir)); err != nil {
					b.Fatal(err)
				}
			}
		})
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

// BenchmarkLimit is what the bytes themselves cost on this machine, on one processor.
func BenchmarkLimit(b *testing.B) {
	data := make([]byte, 64<<20)
	for name, h := range map[string]hash.Hash{"SHA-256": sha256.New(), "SHA-1": sha1.New()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				h.Write(data)
			}
		})
	}
	b.Run("loopback", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			overLoopback(b, data)
		}
	})
}

func overLoopback(b *testing.B, data []byte) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var g errgroup.Group
	g.Go(func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		_, err = c.Write(data)
		return errors.Join(err, c.Close())
	})
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n, err := io.Copy(io.Discard, c)
	if err = errors.Join(err, g.Wait()); err != nil || n != int64(len(data)) {
		b.Fatalf("%d bytes, %v", n, err)
	}
}
