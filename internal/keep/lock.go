package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock opens a file or folder and locks it until it is closed, at the latest by
// the end of the process. It waits for others as long as ctx allows.
func lock(ctx context.Context, name string, how int, create bool) (*os.File, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		f, err := tryLock(name, how, create)
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

// tryLock locks a file or folder, or says that somebody else has: unix.EWOULDBLOCK.
func tryLock(name string, how int, create bool) (*os.File, error) {
	for {
		flags := os.O_RDONLY
		if create {
			flags = os.O_RDWR | os.O_CREATE
		}
		f, err := os.OpenFile(name, flags, 0o644)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if same(f, name) {
			return f, nil
		}
		f.Close() // it was removed between the two, and another one may have its name
	}
}

// same tells whether a name still stands for an open file.
func same(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(opened, named)
}

// ignoreAbsent is for removing what others may have removed.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
