package workdir

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestSpare(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	tests := []struct {
		name, groups string
		files        fstest.MapFS
		want         int64
	}{
		{"no limit", "0::/a\n", fstest.MapFS{"a/memory.max": text("max"), "a/memory.current": text("7")}, math.MaxInt64},
		{"no files", "0::/a\n4:memory:/b\n", nil, math.MaxInt64},
		{"a limit", "0::/a\n", fstest.MapFS{"a/memory.max": text("100"), "a/memory.current": text("30")}, 70},
		{"cache counts as free", "0::/a\n", fstest.MapFS{
			"a/memory.max": text("100"), "a/memory.current": text("30"), "a/memory.stat": text("anon 5\ninactive_file 20\nactive_file 3")}, 90},
		{"throttled before the limit", "0::/a\n", fstest.MapFS{
			"a/memory.max": text("100"), "a/memory.high": text("50"), "a/memory.current": text("30")}, 20},
		{"a group above has less", "0::/a/b/c\n", fstest.MapFS{
			"a/memory.max": text("50"), "a/memory.current": text("40"),
			"a/b/c/memory.max": text("100"), "a/b/c/memory.current": text("30")}, 10},
		{"a container's root", "0::/\n", fstest.MapFS{"memory.max": text("64"), "memory.current": text("4")}, 60},
		{"above the root of a namespace", "0::/../../a\n", fstest.MapFS{"memory.max": text("64"), "memory.current": text("4")}, 60},
		{"over its limit", "0::/a\n", fstest.MapFS{"a/memory.max": text("10"), "a/memory.current": text("30")}, 0},
		{"a limit and no usage", "0::/a\n", fstest.MapFS{"a/memory.max": text("10")}, 0},
		{"version 1", "5:cpu,memory:/a\n0::/\n", fstest.MapFS{
			"memory/a/memory.limit_in_bytes": text("100"), "memory/a/memory.usage_in_bytes": text("60"),
			"memory/a/memory.stat": text("inactive_file 1\ntotal_inactive_file 15")}, 55},
		{"version 1, a container's name outside", "5:memory:/docker/0123\n", fstest.MapFS{
			"memory/memory.limit_in_bytes": text("100"), "memory/memory.usage_in_bytes": text("60")}, 40},
		{"version 1, another controller", "5:cpu:/a\n", fstest.MapFS{
			"memory/memory.limit_in_bytes": text("100"), "memory/memory.usage_in_bytes": text("60")}, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := spare(tt.files, tt.groups); got != tt.want {
			t.Errorf("%s: spare(%q) = %d, want %d", tt.name, tt.groups, got, tt.want)
		}
	}
}

func TestAvailable(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:        8 kB\nMemAvailable:    3 kB\n": 3 << 10,
		"MemTotal:        8 kB\n":                        0,
		"MemAvailable:    many\n":                        0,
	} {
		if got := available(text); got != want {
			t.Errorf("available(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestFits(t *testing.T) {
	left := room{bytes: 200, files: 20, memory: 400}
	for need, want := range map[Need]bool{{100, 10}: true, {101, 10}: false, {100, 11}: false} {
		if got := left.fits(need); got != want {
			t.Errorf("%+v fits into %+v: %v, want %v", need, left, got, want)
		}
	}
	if left.memory = 399; left.fits(Need{100, 10}) {
		t.Error("more than a quarter of the memory is taken")
	}
}

// memoryMount is a folder on a file system in memory, for what a test does there.
func memoryMount(t *testing.T) string {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(SharedMemory, &s); err != nil || s.Type != unix.TMPFS_MAGIC {
		t.Skipf("%s is no file system in memory", SharedMemory)
	}
	mount, err := os.MkdirTemp(SharedMemory, "workdir-test-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(mount) })
	return mount
}

func TestMakeInMemory(t *testing.T) {
	mount := memoryMount(t)
	dir, release, err := MakeInMemory(t.Context(), mount, Need{Bytes: 1, Files: 1})
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(ownBelow(mount), "build-killed")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := SweepMemory(t.Context(), mount); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what a killed build left is there after a sweep")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("release left the folder behind")
	}
}

func TestMakeInMemoryRefuses(t *testing.T) {
	mount := memoryMount(t)
	refused := func(what, mount string, need Need) {
		t.Helper()
		if dir, _, err := MakeInMemory(t.Context(), mount, need); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s: %q, %v, want %v", what, dir, err, ErrNoRoom)
		}
	}
	refused("too much", mount, Need{Bytes: math.MaxInt64 / 2})
	refused("no such folder", filepath.Join(mount, "none"), Need{})
	refused("a disk", "/proc", Need{})

	elsewhere := t.TempDir()
	victim := filepath.Join(elsewhere, "build-victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(dir string) error{
		"a link":                   func(dir string) error { return os.Symlink(elsewhere, dir) },
		"a file":                   func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a folder of everybody's":  func(dir string) error { return errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)) },
		"a folder of other users'": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 12345, 12345)) },
	} {
		if err := make(ownBelow(mount)); errors.Is(err, os.ErrPermission) {
			continue // only root gives folders away
		} else if err != nil {
			t.Fatal(err)
		}
		refused(name, mount, Need{})
		if err := SweepMemory(t.Context(), mount); err == nil {
			t.Errorf("%s: swept", name)
		}
		if err := os.RemoveAll(ownBelow(mount)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error("a sweep has followed a link")
	}
}
