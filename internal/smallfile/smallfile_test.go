package smallfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	dir := t.TempDir()
	for file, text := range map[string]string{outside: "x", filepath.Join(dir, "small"): "small", filepath.Join(dir, "large"): strings.Repeat("x", 11), filepath.Join(dir, "full"): strings.Repeat("x", 10)} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"zero": "/dev/zero", "out": outside, "in": "small"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, tt := range []struct{ name, want, err, errIn string }{
		{name: "small", want: "small"},
		{name: "full", want: "xxxxxxxxxx"},
		{name: "in", want: "small"},
		{"out", "x", "", "escapes"},
		{"large", "", "larger than 10 bytes", "larger than 10 bytes"},
		{"pipe", "", "a pipe", "a pipe"},
		{"zero", "", "a device", "escapes"},
		{"folder", "", "a folder", "a folder"},
		{"missing", "", "no such file", "no such file"},
	} {
		for _, read := range []struct {
			call string
			data func() ([]byte, error)
			want string
		}{
			{"Read", func() ([]byte, error) { return Read(filepath.Join(dir, tt.name), 10) }, tt.err},
			{"ReadIn", func() ([]byte, error) { return ReadIn(root, tt.name, 10) }, tt.errIn},
		} {
			data, err := read.data()
			switch {
			case read.want == "" && (err != nil || string(data) != tt.want):
				t.Errorf("%s(%s) = %q, %v, want %q", read.call, tt.name, data, err, tt.want)
			case read.want != "" && (err == nil || !strings.Contains(err.Error(), read.want) || !strings.Contains(err.Error(), tt.name)):
				t.Errorf("%s(%s) = %v, want an error that says %q", read.call, tt.name, err, read.want)
			}
		}
	}
	if _, err := Read(filepath.Join(dir, "missing"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
