package workflows

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An action does what one of GitHub's does, as far as the workflows use it.
type action func(m *machine, with map[string]string) (outputs map[string]string, err error)

var knownActions = map[string]action{
	"actions/checkout":          checkout,
	"actions/setup-go":          setup("go"),
	"cachix/install-nix-action": setup("nix"),
	"actions/cache/restore":     restoreCache,
	"actions/cache/save":        saveCache,
	"actions/upload-artifact":   uploadArtifact,
	"actions/download-artifact": downloadArtifact,
}

func checkout(m *machine, _ map[string]string) (map[string]string, error) {
	return nil, copyTree(m.github.sources, m.workspace)
}

// setup makes programs that a machine lacks be found.
func setup(program string) action {
	return func(m *machine, _ map[string]string) (map[string]string, error) {
		for _, name := range absent[program] {
			if err := os.Remove(filepath.Join(m.lacks, name)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}

// absent are the programs that a machine does not have before it is set up.
var absent = map[string][]string{
	"go":  {"go"},
	"nix": {"nix", "nix-instantiate", "nix-store", "nix-build"},
}

// cached is an entry of the cache. Entries never change.
type cached struct{ key, dir string }

func restoreCache(m *machine, with map[string]string) (map[string]string, error) {
	outputs := map[string]string{"cache-primary-key": with["key"], "cache-hit": ""}
	entries := slices.Clone(m.github.caches)
	slices.Reverse(entries) // the newest that fits
	for _, wanted := range append([]string{with["key"]}, strings.Fields(with["restore-keys"])...) {
		for _, e := range entries {
			if exact := e.key == with["key"]; exact || wanted != with["key"] && strings.HasPrefix(e.key, wanted) {
				outputs["cache-matched-key"] = e.key
				outputs["cache-hit"] = fmt.Sprint(exact)
				return outputs, copyTree(e.dir, m.workspace)
			}
		}
	}
	return outputs, nil
}

func saveCache(m *machine, with map[string]string) (map[string]string, error) {
	if slices.ContainsFunc(m.github.caches, func(e cached) bool { return e.key == with["key"] }) {
		return nil, fmt.Errorf("the cache has an entry %s, which does not change", with["key"])
	}
	dir, err := os.MkdirTemp(m.github.dir, "cache-")
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(with["path"]) {
		if err := copyTree(filepath.Join(m.workspace, name), filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	m.github.caches = append(m.github.caches, cached{with["key"], dir})
	return nil, nil
}

// uploadArtifact keeps files without their modes. A folder's content is at the top
// of the artifact; several paths keep their names.
func uploadArtifact(m *machine, with map[string]string) (map[string]string, error) {
	at := filepath.Join(m.github.dir, fmt.Sprintf("run-%d", m.github.run), with["name"])
	if err := os.RemoveAll(at); err != nil {
		return nil, err
	}
	paths := strings.Fields(with["path"])
	files := 0
	for _, name := range paths {
		to := filepath.Join(at, name)
		if len(paths) == 1 {
			to = at
		}
		err := copyTree(filepath.Join(m.workspace, name), to)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		files++
	}
	if files == 0 && with["if-no-files-found"] == "error" {
		return nil, fmt.Errorf("no files found in %v", paths)
	}
	return nil, filepath.WalkDir(at, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(name, 0o644)
	})
}

func downloadArtifact(m *machine, with map[string]string) (map[string]string, error) {
	pattern := with["name"] + with["pattern"]
	found, err := filepath.Glob(filepath.Join(m.github.dir, fmt.Sprintf("run-%d", m.github.run), pattern))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && with["name"] != "" {
		return nil, fmt.Errorf("there is no artifact %s", with["name"])
	}
	for _, dir := range found {
		to := filepath.Join(m.workspace, with["path"])
		if with["pattern"] != "" && with["merge-multiple"] != "true" {
			to = filepath.Join(to, filepath.Base(dir))
		}
		if err := copyTree(dir, to); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// copyTree copies a file or a folder over what is there, with modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(at, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(target, at)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		return errors.Join(os.WriteFile(at, data, info.Mode().Perm()), os.Chmod(at, info.Mode().Perm()))
	})
}

func TestCaches(t *testing.T) {
	g := newGitHub(t, t.TempDir())
	m := &machine{github: g, workspace: t.TempDir()}
	file := filepath.Join(m.workspace, "factory.db")
	for _, key := range []string{"state-1", "state-2"} {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := saveCache(m, map[string]string{"key": key, "path": "factory.db"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct{ with, content, hit string }{
		"exact":  {"state-1", "state-1", "true"},
		"prefix": {"state-3", "state-2", "false"},
	} {
		outputs, err := restoreCache(m, map[string]string{"key": want.with, "restore-keys": "state-", "path": "factory.db"})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(readFile(t, file)); got != want.content || outputs["cache-hit"] != want.hit || outputs["cache-matched-key"] != want.content {
			t.Errorf("%s: restored %q with %v, want %q", name, got, outputs, want.content)
		}
	}
	if outputs, err := restoreCache(m, map[string]string{"key": "state", "path": "factory.db"}); err != nil || outputs["cache-matched-key"] != "" {
		t.Errorf("a key that is only the beginning of one restored %v, %v", outputs, err)
	}
	if _, err := saveCache(m, map[string]string{"key": "state-1", "path": "factory.db"}); err == nil {
		t.Error("an entry was overwritten")
	}
}
