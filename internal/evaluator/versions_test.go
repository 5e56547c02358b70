//go:build nixversions

package evaluator

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Newer versions evaluate as the Nix of a tree does, in all ways, and are as
// restricted. scripts/test-nix-versions lays them out.
func TestOfVersions(t *testing.T) {
	for _, v := range strings.Fields(os.Getenv("NIX_VERSIONS")) {
		t.Run(v, func(t *testing.T) {
			n := relocated(t, filepath.Join(os.Getenv("NIX_VERSIONS_DIR"), v), v)
			mode, err := n.Mode(t.Context(), t.TempDir())
			if err != nil || mode.Writable {
				t.Errorf("Mode() = %v, %v", mode, err)
			}
			testAllowed(t, n)
			testAttacks(t, n)
		})
	}
}

// relocated makes a closure of one object out of a Nix that runs where it lies:
// its programs look for everything in /nix/store.
func relocated(t *testing.T, from, version string) Nix {
	t.Helper()
	root, err := nix.ParseStorePath("/nix/store/" + digestA + "-nix-" + version)
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	object := filepath.Join(store, root.Base())
	if err := os.CopyFS(object, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	program, lib := filepath.Join(object, "bin/nix"), root.String()+"/lib"
	loader := filepath.Base(patchelf(t, "--print-interpreter", program))
	patchelf(t, "--set-interpreter", filepath.Join(lib, loader), "--set-rpath", lib, program)
	libraries, err := os.ReadDir(filepath.Join(object, "lib"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libraries {
		if l.Name() != loader && l.Name() != "libc.so.6" { // which need none
			patchelf(t, "--set-rpath", lib, filepath.Join(object, "lib", l.Name()))
		}
	}
	n, err := Unpacked(keep.Closure{Root: root, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func patchelf(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("patchelf", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("patchelf %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
