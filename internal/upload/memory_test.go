package upload

import (
	"bufio"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// endless is Objects with one NAR that exists only while it is read.
type endless struct{ size int64 }

func (e endless) NAR(context.Context, nix.PathInfo) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeros{}, e.size)), nil
}

func (e endless) info(t *testing.T) nix.PathInfo {
	t.Helper()
	h := sha256.New()
	io.CopyN(h, zeros{}, e.size)
	p, err := nix.SourcePath("nixpkgs-src", nix.Hash(h.Sum(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return nix.PathInfo{Path: p, NarHash: nix.Hash(h.Sum(nil)), NarSize: e.size}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Whatever the size of a NAR, passing it on takes little memory.
func TestMemory(t *testing.T) {
	const size, limit = 128 << 20, 8 << 20
	e := endless{size}
	info := e.info(t)
	allocated := func(name string, f func()) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > limit {
			t.Errorf("%s: %d bytes allocated for a NAR of %d", name, n, size)
		}
	}
	s := startAttic(t, attictest.Options{})
	s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
		}
		return r.Method == http.MethodPut
	})
	allocated("attic", func() {
		if report, err := quick(s).Push(t.Context(), []nix.PathInfo{info}, e); err != nil || report.Bytes != size {
			t.Errorf("Push = %+v, %v", report, err)
		}
	})
	allocated("offer", func() {
		o, err := makeOffer(t.Context(), []nix.PathInfo{info}, e)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(o.url + "/nar/" + info.Path.Digest() + ".nar")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, bufio.NewReader(resp.Body)); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if taken, broken := o.close(); len(taken) != 1 || broken != nil {
			t.Errorf("%d taken, %v", len(taken), broken)
		}
	})
}
