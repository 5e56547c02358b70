package cycle

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// Where nixpkgs is unpacked changes nothing of it, and nothing of it stays.
func TestUnpack(t *testing.T) {
	var archive bytes.Buffer
	if err := sourcetest.Write(&archive, sourcetest.Options{Files: 50, Bytes: 100_000}); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Read(t.Context(), &archive, source.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
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
