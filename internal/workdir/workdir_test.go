package workdir_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// A folder is there until it is released, and no sweep takes one that is in use.
func TestSweepTakesWhatNobodyUses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	used, release, err := workdir.Make(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "build-killed")
	if err := os.MkdirAll(filepath.Join(left, "closed"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(left, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := workdir.Sweep(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if there(t, left) || !there(t, used) {
		t.Errorf("after Sweep: the killed build's folder is there: %v, the one in use: %v", there(t, left), there(t, used))
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if there(t, used) {
		t.Error("release left the folder behind")
	}
}

// Make waits for whoever is at work in the folder no longer than it may.
func TestMakeWaitsAsLongAsItMay(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := workdir.Make(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Make in a folder that is locked = %v, want %v", err, context.Canceled)
	}
}

func there(t *testing.T, name string) bool {
	t.Helper()
	_, err := os.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}
