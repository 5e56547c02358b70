package evaluator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

var prepare = sync.OnceValues(func() (*standin.Fixture, error) {
	return standin.Prepare(context.Background(), standin.Options{Log: os.Stderr})
})

// cacheOf is the binary cache of the stand-in upstream, without a server.
func cacheOf(t testing.TB) *binarycache.Cache {
	t.Helper()
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	key, err := nix.ParsePublicKey(f.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return binarycache.New(fetch.New(fetch.Options{}), []binarycache.Substituter{{URL: "file://" + f.CacheFolder(), Keys: []nix.PublicKey{key}}})
}

// says is a tree whose file has this text.
func says(text string) File {
	return func() ([]byte, bool, error) { return []byte(text), true, nil }
}

// naming is a tree that names the Nix of the stand-in's packages.
func naming(t testing.TB) File {
	t.Helper()
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	path := f.Outputs(f.Commit("shared").Rev, "x86_64-linux")["nixRelease"][0]
	return says("{\n  x86_64-linux = \"" + path + "\";\n}\n")
}

func chooser(t testing.TB, choice Choice) *Chooser {
	t.Helper()
	return &Chooser{
		Choice:    choice,
		Keep:      keep.Folder{Dir: t.TempDir(), Source: cacheOf(t), Most: MaxClosure, Progress: progress.Silent{}},
		Installed: func(context.Context) (Nix, error) { return Nix{}, &MissingError{errors.New("not in this test")} },
		Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

var unpackedOnce = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "evaluator-test-*") })

// ofTree is the Nix that the miniature nixpkgs names, for all tests of the package.
func ofTree(t testing.TB) Nix {
	t.Helper()
	dir, err := unpackedOnce()
	if err != nil {
		t.Fatal(err)
	}
	c := chooser(t, Tree)
	c.Keep.Dir = dir
	n, release, err := c.For(t.Context(), naming(t), t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return n
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := unpackedOnce(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// The tree's Nix evaluates in both ways, and no file of the machine's Nix is needed.
func TestTreesNix(t *testing.T) {
	t.Setenv("PATH", "/var/empty")
	n := ofTree(t)
	if n.Version != "2.8.0" {
		t.Errorf("Version = %q", n.Version)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.nix"), []byte(`builtins.seq (derivation { name = "x"; system = "x"; builder = ./x.nix; }).outPath builtins.nixVersion`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{{Namespaces: true}, {}, {Namespaces: true, Writable: true}, {Writable: true}} {
		out, err := n.eval(t.Context(), mode, t.TempDir(), Expression{File: filepath.Join(dir, "x.nix"), Read: []string{dir}})
		if err != nil || strings.TrimSpace(string(out)) != `"2.8.0"` {
			t.Errorf("%+v: %s, %v", mode, out, err)
		}
	}
}

// Where links lead to the folder that it is kept in, it has its namespaces all the same.
func TestTreesNixBehindALink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	c := chooser(t, Tree)
	c.Keep.Dir = filepath.Join(link, "nix")
	n, release, err := c.For(t.Context(), naming(t), t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if mode, err := n.Mode(t.Context(), t.TempDir()); err != nil || !mode.Namespaces {
		t.Errorf("Mode() = %v, %v", mode, err)
	}
}
