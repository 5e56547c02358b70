package nixtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Nix's own dump has the same bytes.
func TestWritePath(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"", "a", "a/b", "empty"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"a.x": 0o644, "a/run": 0o755, "a/b/\xff": 0o644, "zero": 0o644} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(name[:len(name)%5]), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../nowhere", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nix-store", "--dump", root)
	cmd.Env = append(cmd.Environ(), "NIX_REMOTE=dummy://")
	want, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := WritePath(&got, root); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("archive is %q, %v, want %q", got.Bytes(), err, want)
	}
}

func TestWritePathModes(t *testing.T) {
	for mode, want := range map[fs.FileMode]bool{0o100: true, 0o700: true, 0o4555: true, 0o444: false, 0o611: false, 0o010: false} {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode|0o400); err != nil {
			t.Fatal(err)
		}
		var data bytes.Buffer
		if err := WritePath(&data, name); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(data.Bytes(), []byte("executable")); got != want {
			t.Errorf("mode %o: executable is %t, want %t", mode, got, want)
		}
	}
}

func TestWritePathRejects(t *testing.T) {
	dir := t.TempDir()
	if err := WritePath(io.Discard, filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want %v", err, fs.ErrNotExist)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%q: neither a file nor a folder nor a link", pipe)
	if err := WritePath(io.Discard, dir); err == nil || err.Error() != want {
		t.Errorf("pipe: %v, want %s", err, want)
	}
}
