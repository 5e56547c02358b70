package factory_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nixcli"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// A nixpkgs that wants a newer Nix than there is says so before it is evaluated.
func TestNixTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	commit := w.fixture.Commit("release-doc")
	data, tree := newerNixpkgs(t, w.fixture.ArchiveFile(commit.Rev))
	w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/codeload/") || !strings.HasSuffix(r.URL.Path, commit.Rev) {
			return false
		}
		rw.Write(data)
		return true
	})
	w.once(func(path string) bool { return strings.HasSuffix(path, "/branches/"+release) }, func(rw http.ResponseWriter, _ *http.Request, answer []byte) {
		rw.Write(bytes.ReplaceAll(answer, []byte(commit.Tree), []byte(tree)))
	})
	found, err := nixcli.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.failsAlone(t, "2.99.1", found.Version)
	f := w.open()
	defer f.Store.Close()
	// The error is one that the command line adds advice to.
	failure, err := f.Store.Failure(release, w.upstream.Head(release))
	if err != nil || failure == nil {
		t.Fatalf("failure on record: %+v, %v", failure, err)
	}
	if !strings.Contains(failure.Error, (&toolset.VersionError{Found: found.Version, Wanted: "2.99.1"}).Error()) {
		t.Errorf("on record is %q", failure.Error)
	}
}

// newerNixpkgs rewrites an archive so that it wants Nix 2.99.1, and returns the
// id of its tree.
func newerNixpkgs(t testing.TB, file string) (data []byte, tree string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	from, to := tar.NewReader(zr), tar.NewWriter(zw)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, "/lib/minver.nix") {
			content = []byte("# Comments name other versions: \"1.0\"\n\"2.99.1\"\n")
			h.Size = int64(len(content))
		}
		if err := to.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	to.Close()
	zw.Close()
	read, err := source.Read(t.Context(), bytes.NewReader(out.Bytes()), source.Options{Name: file, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	return out.Bytes(), read.TreeID
}
