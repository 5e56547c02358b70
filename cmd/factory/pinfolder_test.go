package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/pin"
)

// pinsIn makes a folder with files, and says what they are to be.
func pinsIn(t *testing.T, files ...string) (folder, []pin.Pinned) {
	t.Helper()
	dir := t.TempDir()
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	var pinned []pin.Pinned
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		pinned = append(pinned, pin.Pinned{File: pin.File{Name: name, Text: []byte("old")}, New: []byte("new")})
	}
	return f, pinned
}

// holds fails unless a folder has these files with these texts, and no others.
func holds(t *testing.T, f folder, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(f.root.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("the folder has %v, want %v", entries, want)
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(f.root.Name(), name)); err != nil || string(got) != text {
			t.Errorf("%s has %q (%v), want %q", name, got, err, text)
		}
	}
}

// A file that changed meanwhile is not written over, and no other is written.
func TestPinWritesAllOrNothing(t *testing.T) {
	f, pinned := pinsIn(t, "a", "b")
	pinned[1].Text = []byte("as it was")
	err := f.write(pinned)
	if err == nil || !strings.Contains(err.Error(), "b: it changed while it was looked at; nothing was written") {
		t.Errorf("write: %v", err)
	}
	holds(t, f, map[string]string{"a": "old", "b": "old"})

	pinned[1].Text = []byte("old")
	if err := f.write(pinned); err != nil {
		t.Fatal(err)
	}
	holds(t, f, map[string]string{"a": "new", "b": "new"})
}

// Where a file cannot be replaced after all, the error says which ones were.
func TestPinSaysWhatWasWritten(t *testing.T) {
	f, pinned := pinsIn(t, "a", "b")
	staged, err := f.stage(pinned)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.root.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if err := f.root.Mkdir("b", 0o755); err != nil {
		t.Fatal(err)
	}
	err = f.replace(staged)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(f.root.Name(), "b")) || !strings.HasSuffix(err.Error(), "written was a") {
		t.Errorf("replace: %v", err)
	}
}
