package keep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
	"github.com/nixpkgs-factory/factory/internal/progress"
)

// source is a cache in memory.
type source struct {
	infos map[nix.StorePath]nix.PathInfo
	nars  map[nix.StorePath][]byte
	asked atomic.Int32 // for NARs
}

func (s *source) Info(_ context.Context, p nix.StorePath) (nix.PathInfo, error) {
	info, ok := s.infos[p]
	if !ok {
		return info, errors.New(p.Base() + ": not there")
	}
	return info, nil
}

func (s *source) NAR(_ context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	s.asked.Add(1)
	return io.NopCloser(bytes.NewReader(s.nars[info.Path])), nil
}

func path(t *testing.T, name string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(strings.Repeat("0", 32) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// add puts a folder under a name into the source.
func (s *source) add(t *testing.T, name, dir string, references ...nix.StorePath) nix.StorePath {
	t.Helper()
	var data bytes.Buffer
	if err := nixtest.WritePath(&data, dir); err != nil {
		t.Fatal(err)
	}
	p := path(t, name)
	s.nars[p] = data.Bytes()
	s.infos[p] = nix.PathInfo{Path: p, NarHash: sha256.Sum256(data.Bytes()), NarSize: int64(data.Len()), References: references}
	return p
}

// newFolder is a folder to keep closures in, and a closure of two objects.
func newFolder(t *testing.T) (Folder, *source, nix.StorePath) {
	t.Helper()
	from := t.TempDir()
	for name, mode := range map[string]os.FileMode{"bin/program": 0o755, "share/text": 0o644} {
		if err := os.MkdirAll(filepath.Join(from, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	s := &source{infos: make(map[nix.StorePath]nix.PathInfo), nars: make(map[nix.StorePath][]byte)}
	library := s.add(t, "library", filepath.Join(from, "share"))
	root := s.add(t, "nix-1", from, library)
	return Folder{Dir: filepath.Join(t.TempDir(), "kept"), Source: s, Most: 1 << 20, Progress: progress.Silent{}}, s, root
}

func take(t *testing.T, f Folder, root nix.StorePath) Closure {
	t.Helper()
	c, release, err := f.Take(t.Context(), root, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return c
}

// What was fetched once is fetched no more.
func TestTake(t *testing.T) {
	f, s, root := newFolder(t)
	c := take(t, f, root)
	if c.Fetched == 0 || c.Damage != nil || s.asked.Load() != 2 {
		t.Errorf("the first time: %+v, after %d NARs", c, s.asked.Load())
	}
	program := filepath.Join(c.Store, root.Base(), "bin/program")
	if data, err := os.ReadFile(program); err != nil || string(data) != "bin/program" {
		t.Errorf("the program: %q, %v", data, err)
	}
	if info, err := os.Stat(program); err != nil || info.Mode() != 0o555 {
		t.Errorf("its mode: %v, %v", info.Mode(), err)
	}
	if target, err := os.Readlink(filepath.Join(c.Store, root.Base(), "link")); err != nil || target != "/nowhere" {
		t.Errorf("the link: %q, %v", target, err)
	}
	if _, err := os.Stat(filepath.Join(c.Store, path(t, "library").Base(), "text")); err != nil {
		t.Error(err)
	}
	if c := take(t, f, root); c.Fetched != 0 || s.asked.Load() != 2 {
		t.Errorf("the second time: %+v, after %d NARs", c, s.asked.Load())
	}
}

// What is damaged is replaced, and it is said how.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(kept, object string) error{
		"a file is gone":        func(_, o string) error { return os.Remove(filepath.Join(o, "share/text")) },
		"a folder is gone":      func(_, o string) error { return os.RemoveAll(filepath.Join(o, "share")) },
		"a link leads away":     func(_, o string) error { return relink(filepath.Join(o, "link"), "/else") },
		"a link in its place":   func(_, o string) error { return relink(filepath.Join(o, "bin/program"), "/bin/sh") },
		"a file is cut off":     func(_, o string) error { return os.Truncate(filepath.Join(o, "share/text"), 3) },
		"a file is another":     func(_, o string) error { return rewrite(filepath.Join(o, "share/text"), "SHARE/TEXT") },
		"a mode is another":     func(_, o string) error { return os.Chmod(filepath.Join(o, "bin/program"), 0o444) },
		"there is a file more":  func(_, o string) error { return os.WriteFile(filepath.Join(o, "more"), nil, 0o644) },
		"an object is gone":     func(_, o string) error { return os.RemoveAll(o) },
		"the listing is gone":   func(k, _ string) error { return os.Remove(filepath.Join(k, listingName)) },
		"the listing is cut":    func(k, _ string) error { return os.Truncate(filepath.Join(k, listingName), 10) },
		"nothing is left of it": func(k, _ string) error { return os.RemoveAll(filepath.Join(k, storeName)) },
	} {
		t.Run(name, func(t *testing.T) {
			f, s, root := newFolder(t)
			c, release, err := f.Take(t.Context(), root, "")
			if err != nil {
				t.Fatal(err)
			}
			release()
			if err := damage(filepath.Dir(c.Store), filepath.Join(c.Store, root.Base())); err != nil {
				t.Fatal(err)
			}
			again := take(t, f, root)
			if again.Damage == nil || s.asked.Load() != 4 {
				t.Errorf("%+v, after %d NARs", again, s.asked.Load())
			}
			if last := take(t, f, root); last.Damage != nil || last.Fetched != 0 {
				t.Errorf("it is not repaired: %+v", last)
			}
			onlyKept(t, f, root)
		})
	}
}

func relink(name, target string) error {
	return errors.Join(os.Remove(name), os.Symlink(target, name))
}

func rewrite(name, text string) error {
	return errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, []byte(text), 0), os.Chmod(name, 0o444))
}

// onlyKept checks that there is nothing in the folder but one closure and its lock.
func onlyKept(t *testing.T, f Folder, root nix.StorePath) {
	t.Helper()
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{root.Base(), root.Base() + lockSuffix}, names); diff != "" {
		t.Errorf("in the folder (-want +got):\n%s", diff)
	}
}

// What cannot be had as a whole is not there at all.
func TestNothingByHalf(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(f *Folder, s *source, root nix.StorePath)
		want  string
	}{
		"a reference is missing": {func(_ *Folder, s *source, _ nix.StorePath) { delete(s.infos, path(t, "library")) }, "not there"},
		"a NAR is another":       {func(_ *Folder, s *source, p nix.StorePath) { s.nars[p][len(s.nars[p])/2] ^= 1 }, "nix-1: "},
		"a NAR is cut off":       {func(_ *Folder, s *source, p nix.StorePath) { s.nars[p] = s.nars[p][:300] }, "nix-1: nar"},
		"a hash is another": {func(_ *Folder, s *source, p nix.StorePath) {
			info := s.infos[p]
			info.NarHash[0] ^= 1
			s.infos[p] = info
		}, "its NAR has the hash"},
		"too large":      {func(f *Folder, _ *source, _ nix.StorePath) { f.Most = 100 }, "more than 100"},
		"no room for it": {func(f *Folder, s *source, p nix.StorePath) { f.Most = 1 << 62; enlarge(s, p) }, "has room for"},
	} {
		t.Run(name, func(t *testing.T) {
			f, s, root := newFolder(t)
			tt.spoil(&f, s, root)
			_, _, err := f.Take(t.Context(), root, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Take() = %v, want an error that says %q", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(f.Dir, root.Base())); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is there: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(f.Dir, "part-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func enlarge(s *source, p nix.StorePath) {
	info := s.infos[p]
	info.NarSize = 1 << 60
	s.infos[p] = info
}

// Of several that want the same at the same time one fetches it.
func TestTakeTogether(t *testing.T) {
	f, s, root := newFolder(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, release, err := f.Take(t.Context(), root, ""); err != nil {
				t.Error(err)
			} else {
				release()
			}
		})
	}
	group.Wait()
	if n := s.asked.Load(); n != 2 {
		t.Errorf("%d NARs were fetched", n)
	}
	onlyKept(t, f, root)
}

// Waiting for another process ends when it may.
func TestTakeWaitsAsLongAsItMay(t *testing.T) {
	f, _, root := newFolder(t)
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	held, err := tryLock(filepath.Join(f.Dir, root.Base()+lockSuffix), 2, true)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Take(ctx, root, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Take() = %v", err)
	}
}

// Closures go that nobody takes any more, and what killed processes left; nothing
// that is in use.
func TestSweep(t *testing.T) {
	f, s, root := newFolder(t)
	other := s.add(t, "nix-2", t.TempDir())
	_, release, err := f.Take(t.Context(), root, "")
	if err != nil {
		t.Fatal(err)
	}
	take(t, f, other)
	mine := filepath.Join(f.Dir, "notes.txt")
	for _, name := range []string{"part-1/store/x", "dead-1/store", "part-2"} {
		if err := os.MkdirAll(filepath.Join(f.Dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sweep := func(after time.Duration, want ...string) {
		t.Helper()
		if err := f.Sweep(time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(f.Dir)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), lockSuffix) {
				got = append(got, e.Name())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", after, diff)
		}
	}
	sweep(0, root.Base(), other.Base(), "dead-1", "notes.txt", "part-1", "part-2")
	sweep(time.Hour, root.Base(), other.Base(), "notes.txt")
	sweep(Unused+time.Hour, root.Base(), other.Base(), "notes.txt") // in use, both
	release()
	sweep(Unused-time.Hour, root.Base(), other.Base(), "notes.txt")
	sweep(Unused+time.Hour, other.Base(), "notes.txt")
}

// A damaged closure that somebody uses is put aside, and goes when that one ends.
func TestDamagedInUse(t *testing.T) {
	f, _, root := newFolder(t)
	c, release, err := f.Take(t.Context(), root, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(c.Store, root.Base(), "link")); err != nil {
		t.Fatal(err)
	}
	take(t, f, root)
	count := func() int {
		aside, _ := filepath.Glob(filepath.Join(f.Dir, deadPrefix+"*", storeName, root.Base(), "bin/program"))
		return len(aside)
	}
	if n := count(); n != 1 {
		t.Errorf("%d are put aside", n)
	}
	release()
	if err := f.Sweep(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d are still there", n)
	}
}
