package source

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// modes returns the modes of all files below dir, and targets of links.
func modes(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		got[rel] = info.Mode().String()
		if info.Mode()&fs.ModeSymlink != 0 {
			got[rel], err = os.Readlink(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnpack(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", append(allKinds, symlink("out", "/etc/passwd")))...)))
	want := map[string]string{
		".": "drwxr-xr-x", "a": "-r--r--r--", "emptydir": "drwxr-xr-x", "link": "a", "out": "/etc/passwd",
		"run.sh": "-r-xr-xr-x", "sub": "drwxr-xr-x", "sub/one": "-r--r--r--",
	}
	for _, umask := range []int{0o077, 0, 0o022} {
		old := syscall.Umask(umask)
		tmp := filepath.Join(t.TempDir(), "new")
		err := tree.Unpack(tmp)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, modes(t, tmp)); diff != "" {
			t.Errorf("umask %03o:\n%s", umask, diff)
		}
		h := sha256.New()
		if err := nixtest.WritePath(h, tmp); err != nil {
			t.Fatal(err)
		}
		if got := nix.Hash(h.Sum(nil)); got != tree.NarHash {
			t.Errorf("umask %03o: NAR hash of the files is %v, want %v", umask, got, tree.NarHash)
		}
	}
}

func TestFootprint(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", allKinds)...)))
	bytes, files := tree.Footprint()
	if want := int64(len(modes(t, unpacked(t, tree)))); files != want {
		t.Errorf("Footprint says %d files and folders, Unpack makes %d", files, want)
	}
	if bytes < 4096 || bytes > 4096*(files+1)*2 {
		t.Errorf("Footprint says %d bytes for %d small files", bytes, files)
	}
}

func unpacked(t *testing.T, tree *Tree) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if err := tree.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Unpack starts from nothing: what lies in its way, links above all, is an error.
func TestUnpackRefuses(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", allKinds)...)))
	outside := t.TempDir()
	tests := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a link out", func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "sub")) }, "is not empty"},
		{"a file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) }, "is not empty"},
		{"a file for a folder", func(dir string) error {
			if err := os.Remove(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		}, "not a directory"},
		{"nothing above", func(dir string) error { return os.RemoveAll(filepath.Dir(dir)) }, "no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmp := filepath.Join(t.TempDir(), "above", "dir")
			if err := os.MkdirAll(tmp, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(tmp); err != nil {
				t.Fatal(err)
			}
			if err := tree.Unpack(tmp); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Errorf("outside are %v, %v", entries, err)
			}
		})
	}
}

func TestUnpackFails(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", allKinds)...)))
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(t.TempDir(), "new")
	if err := tree.Unpack(tmp); err == nil || !strings.HasPrefix(err.Error(), "unpack: in "+tmp) {
		t.Errorf("error after Close is %v, want one that names %s", err, tmp)
	}
}
