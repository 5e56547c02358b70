package cycle_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// polledOnly fails the test unless the upstream was asked for heads only, with
// so many conditional requests that were all answered by "not modified".
func (w *world) polledOnly(heads int) {
	w.t.Helper()
	for kind, requests := range w.asked() {
		if kind != "api" || len(requests) != heads {
			w.t.Errorf("%d requests of kind %s: %v", len(requests), kind, requests)
		}
		for _, r := range requests {
			if r.Status != 304 {
				w.t.Errorf("%s %s answered %d, want 304", r.Method, r.Path, r.Status)
			}
		}
	}
}

func appendTo(t testing.TB, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// forgiven fails the test if the state still tells of a failure.
func (w *world) forgiven(channel string) {
	w.t.Helper()
	for _, failure := range w.failures() {
		if failure.Channel == channel {
			w.t.Errorf("all is well, and on record is still %+v", failure)
		}
	}
}

// failures are those on record.
func (w *world) failures() []record.Failure {
	w.t.Helper()
	f := w.open()
	defer f.Store.Close()
	failures, err := f.Store.Failures()
	if err != nil {
		w.t.Fatal(err)
	}
	return failures
}

func blobs(t testing.TB, layout string) []string {
	t.Helper()
	return list(t, filepath.Join(layout, "blobs/sha256"))
}

// replace changes a text in a file, which has to have it.
func replace(t testing.TB, file, before, after string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(data), before, after)
	if changed == string(data) {
		t.Fatalf("%s has no %q", file, before)
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tag returns the digest that a tag has at a destination, "" if it is not there.
func (w *world) tag(destination int, channel, tag string) string {
	w.t.Helper()
	repo, err := w.repository(w.config.Publish[destination], "nixpkgs-"+channel)
	if err != nil {
		w.t.Fatal(err)
	}
	digest, err := repo.Digest(w.t.Context(), tag)
	if err != nil && !strings.Contains(err.Error(), registry.ErrNotFound.Error()) {
		w.t.Fatal(err)
	}
	if err != nil {
		return ""
	}
	return digest.String()
}

// mark makes count start anew.
func (w *world) mark() {
	w.seen = len(w.upstream.Requests())
	w.wire.forget()
}

// asked returns the requests to the upstream since the mark, by what they ask for.
func (w *world) asked() map[string][]standin.Request {
	kinds := make(map[string][]standin.Request)
	for _, r := range w.upstream.Requests()[w.seen:] {
		kind := "other"
		switch {
		case strings.HasPrefix(r.Path, "/api/"):
			kind = "api"
		case strings.Contains(r.Path, "/archive/"), strings.HasPrefix(r.Path, "/codeload/"):
			kind = "archive"
		case strings.HasSuffix(r.Path, ".narinfo"):
			kind = "narinfo"
		case strings.HasPrefix(r.Path, "/cache/nar/"):
			kind = "nar"
		case strings.HasPrefix(r.Path, "/cache/"):
			kind = "cache"
		}
		kinds[kind] = append(kinds[kind], r)
	}
	return kinds
}

// tidy fails the test if something unfinished is left: a work folder, or a file
// in a layout under another name than its own.
func (w *world) tidy() {
	w.t.Helper()
	left := slices.DeleteFunc(list(w.t, w.config.Cache), func(name string) bool { return name == "nix" }) // which is kept
	if len(left) > 0 {
		w.t.Errorf("work folders are left: %v", left)
	}
	for _, own := range list(w.t, w.memory) {
		if left := list(w.t, filepath.Join(w.memory, own)); len(left) > 0 {
			w.t.Errorf("folders in memory are left: %v", left)
		}
	}
	for _, dest := range w.config.Publish {
		if dest.Layout == "" {
			continue
		}
		for _, file := range files(w.t, dest.Layout) {
			if strings.Contains(file, "unfinished") {
				w.t.Errorf("the layout has %s", file)
			}
		}
	}
}

// list returns the names in a folder other than lock files, none if there is no folder.
func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

// files returns all files below a folder, none if there is no folder.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return names
}

// contains fails the test unless a text has all of the parts.
func contains(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return strings.Contains(text, p) })
	if len(missing) > 0 {
		t.Errorf("%s does not say %q:\n%s", what, missing, text)
	}
}
