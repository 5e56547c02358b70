package cycle

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// smallTree is a tree like that of nixpkgs.
func smallTree(t *testing.T) *source.Tree {
	t.Helper()
	var archive bytes.Buffer
	if err := sourcetest.Write(&archive, sourcetest.Options{Files: 50, Bytes: 100_000}); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Read(t.Context(), &archive, source.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// Where nixpkgs is unpacked changes nothing of it, and nothing of it stays.
func TestUnpack(t *testing.T) {
	tree := smallTree(t)
	memory, err := os.MkdirTemp(workdir.SharedMemory, "cycle-test-*")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(memory)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	for name, mount := range map[string]string{"memory": memory, "disk": ""} {
		f, dir := &Factory{Memory: mount, Log: log}, t.TempDir()
		n := nixpkgs{}
		if n.unpacked, n.clear, err = f.unpack(t.Context(), tree, dir, log); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if inMemory := strings.HasPrefix(n.unpacked, memory+"/"); inMemory != (name == "memory") {
			t.Errorf("%s: unpacked into %s", name, n.unpacked)
		}
		if _, err := os.Stat(filepath.Join(n.unpacked, "lib/.version")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n.close()
		if left, err := filepath.Glob(memory + "/*/build-*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", name, left, err)
		}
	}
}

// bursting is a tree that more room was promised to than there is.
type bursting struct {
	unpackable
	within string
}

func (b bursting) Unpack(dir string) error {
	if err := b.unpackable.Unpack(dir); err != nil || !strings.HasPrefix(dir, b.within+"/") {
		return err
	}
	return syscall.ENOSPC
}

// Where memory is used up by somebody else meanwhile, the disk takes nixpkgs, and nothing
// of it stays in memory.
func TestUnpackWithoutRoom(t *testing.T) {
	memory, err := os.MkdirTemp(workdir.SharedMemory, "cycle-test-*")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(memory)
	tree := bursting{smallTree(t), memory}
	f, dir := &Factory{Memory: memory, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, t.TempDir()
	folder, clear, err := f.unpack(t.Context(), tree, dir, f.Log)
	if err != nil || clear != nil || !strings.HasPrefix(folder, dir+"/") {
		t.Fatalf("unpacked into %s, %v, want below %s", folder, err, dir)
	}
	if _, err := os.Stat(filepath.Join(folder, "lib/.version")); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(memory + "/*/build-*"); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
