package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/page"
)

func pageFiles(pairs ...string) (list []page.File) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, page.File{Name: pairs[i], Content: []byte(pairs[i+1])})
	}
	return list
}

// inFolder is what a folder has, but for the list of what was written.
func inFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == pagesList {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		got[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWritePages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "site")
	for _, step := range []struct {
		files            []page.File
		written, removed int
		want             map[string]string
	}{
		{pageFiles("index.html", "1", "channels/a.html", "a"), 2, 0, map[string]string{"index.html": "1", "channels/a.html": "a"}},
		{pageFiles("index.html", "2", "channels/b.html", "b"), 2, 1, map[string]string{"index.html": "2", "channels/b.html": "b"}},
		{pageFiles("index.html", "2", "channels/b.html", "b"), 2, 0, map[string]string{"index.html": "2", "channels/b.html": "b"}},
	} {
		written, removed, err := writePages(dir, step.files)
		if err != nil || written != step.written || removed != step.removed {
			t.Errorf("writePages = %d, %d, %v, want %d, %d", written, removed, err, step.written, step.removed)
		}
		if diff := cmp.Diff(step.want, inFolder(t, dir)); diff != "" {
			t.Errorf("the folder (-want +got):\n%s", diff)
		}
	}
}

// A page that somebody has changed is neither overwritten nor removed, and nothing
// else is written then.
func TestWritePagesLeavesAlone(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := writePages(dir, pageFiles("a.html", "1", "b.html", "1")); err != nil {
		t.Fatal(err)
	}
	write("a.html", "mine")
	var usage usageError
	if _, _, err := writePages(dir, pageFiles("b.html", "2", "a.html", "2")); !errors.As(err, &usage) {
		t.Errorf("writePages over what was changed: %v", err)
	}
	want := map[string]string{"a.html": "mine", "b.html": "1"}
	if diff := cmp.Diff(want, inFolder(t, dir)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
	if _, removed, err := writePages(dir, pageFiles("b.html", "2")); err != nil || removed != 0 {
		t.Errorf("writePages without it: %d removed, %v", removed, err)
	}
	want["b.html"] = "2"
	if diff := cmp.Diff(want, inFolder(t, dir)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
}

// What was interrupted is taken up again: the old files and the new ones are ours.
func TestWritePagesAfterInterruption(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := writePages(dir, pageFiles("a.html", "1", "b.html", "1")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	had, err := readPagesList(root)
	if err != nil {
		t.Fatal(err)
	}
	for name := range had.Files { // as it is when the first file has been written
		had.Files[name] = append(had.Files[name], checksum([]byte("2")))
	}
	if err := errors.Join(had.write(root), writeWhole(root, "a.html", []byte("2"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := writePages(dir, pageFiles("a.html", "3", "b.html", "3")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]string{"a.html": "3", "b.html": "3"}, inFolder(t, dir)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
}

// Links do not lead the factory out of the folder, and a list that somebody made up
// has nothing removed.
func TestWritePagesStaysInside(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "a.html")
	if err := os.WriteFile(victim, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "channels")); err != nil {
		t.Fatal(err)
	}
	sum := checksum([]byte("1"))
	list := `{"files": {"channels/a.html": ["` + sum + `"], "../` + filepath.Base(outside) + `/a.html": ["` + sum + `"], "` + victim + `": ["` + sum + `"]}}`
	if err := os.WriteFile(filepath.Join(dir, pagesList), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, removed, err := writePages(dir, pageFiles("index.html", "1")); err != nil || removed != 0 {
		t.Errorf("%d removed, %v", removed, err)
	}
	if _, _, err := writePages(dir, pageFiles("channels/b.html", "1")); err == nil {
		t.Error("a file was written through a link that leads out")
	}
	if diff := cmp.Diff(map[string]string{"a.html": "1"}, inFolder(t, outside)); diff != "" {
		t.Errorf("outside (-want +got):\n%s", diff)
	}
}
