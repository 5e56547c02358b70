package nar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// restore writes entries to the file system.
func restore(t testing.TB, root string, items []item) {
	t.Helper()
	for _, it := range items {
		name := filepath.Join(root, it.Path)
		var err error
		switch mode := fs.FileMode(0o644); it.Kind {
		case Directory:
			err = os.Mkdir(name, 0o755)
		case Symlink:
			err = os.Symlink(it.Target, name)
		case Regular:
			if it.Executable {
				mode = 0o755
			}
			err = os.WriteFile(name, []byte(it.Contents), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWritePath(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			data := archive(v.root)
			items, err := readAll(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			root := filepath.Join(t.TempDir(), "root")
			restore(t, root, items)
			var got bytes.Buffer
			if err := WritePath(&got, root); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("archive is %x, %v, want %x", got.Bytes(), err, data)
			}
		})
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

// TestAgainstNix compares with the installed Nix: it restores what Writer writes,
// dumps the same bytes from it, and gives it the same hash.
func TestAgainstNix(t *testing.T) {
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	trees := map[string][]any{}
	for _, v := range vectors {
		trees[v.name] = v.root
	}
	trees["unusual names"] = dir(
		entry(" ", file("")), entry("Test", link("/")), entry("Test~nix~case~hack~1", dir()), entry("a\nb", file("x")),
		entry("a\\b", file("x")), entry("e\u0301", link("/")), entry("test", dir()), entry("\u00e9", dir(entry("x", file("")))),
		entry("\xff\xfe", file("y")))
	trees["long names"] = dir(entry(strings.Repeat("n", 255), dir(entry(strings.Repeat("m", 255), file("x")))), entry("t", link(strings.Repeat("t", 4095))))
	trees["64 nodes deep"] = nested(64)
	trees["large file"] = dir(entry("a", file(strings.Repeat("0123456789", 30_000))))
	for name, root := range trees {
		t.Run(name, func(t *testing.T) {
			data := archive(root)
			items, err := readAll(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			written, err := writeAll(items)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "root")
			nix(t, written, "nix-store", "--restore", path)
			if dumped := nix(t, nil, "nix-store", "--dump", path); !bytes.Equal(dumped, data) {
				t.Error("nix-store --dump yields other bytes")
			}
			var again bytes.Buffer
			if err := WritePath(&again, path); err != nil || !bytes.Equal(again.Bytes(), data) {
				t.Errorf("WritePath yields other bytes: %v", err)
			}
			want := nix(t, nil, "nix-hash", "--type", "sha256", path)
			if got := hexHash(data); got != strings.TrimSpace(string(want)) {
				t.Errorf("hash is %s, nix-hash says %s", got, want)
			}
		})
	}
}

// nix runs a command of Nix that needs no store.
func nix(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(cmd.Environ(), "NIX_REMOTE=dummy://")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}
