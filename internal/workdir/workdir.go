// Package workdir keeps folders for unfinished work below one folder: Make gives
// a new one to each build, and Sweep removes those that killed builds left.
//
// A folder is in use as long as its lock is held, which ends with the process at
// the latest: none that is in use is ever removed. MakeInMemory and SweepMemory do
// the same on a file system in memory, where there is ample room.
package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Make makes a folder for one build below dir. A folder is in use as long as
// its lock file is locked, which ends with the process. release removes it.
func Make(ctx context.Context, dir string) (name string, release func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	all, err := waitForLock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return "", nil, err
	}
	defer all.Close() // so that nobody sees a folder without its lock
	if name, err = os.MkdirTemp(dir, "build-*"); err != nil {
		return "", nil, err
	}
	own, err := lock(filepath.Join(name, ".lock"))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(name))
	}
	return name, func() error { return errors.Join(removeAll(name), own.Close()) }, nil
}

// Sweep removes the folders of builds that were killed. One that cannot be
// removed does not keep the others from being.
func Sweep(ctx context.Context, dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "build-*"))
	if err != nil || len(left) == 0 {
		return err
	}
	all, err := waitForLock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer all.Close()
	var problems []error
	for _, name := range left {
		own, err := lock(filepath.Join(name, ".lock"))
		switch {
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
			continue // somebody is building there, or has done
		case err == nil:
			defer own.Close()
		}
		// Where there can be no lock, nobody holds one.
		if err := removeAll(name); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// removeAll removes a folder, and folders in it that may not be written to.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return nil // what is in the way of the removal is told by it
	})
	return errors.Join(err, os.RemoveAll(dir))
}

// waitForLock locks a file that others hold for moments only.
func waitForLock(ctx context.Context, file string) (*os.File, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		f, err := lock(file)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lock locks a file, or says that somebody else has: unix.EWOULDBLOCK.
func lock(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return f, nil
}
