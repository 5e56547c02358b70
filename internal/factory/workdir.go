package factory

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// workDir makes a folder for one build below dir, and removes the folders of
// builds that were killed. A folder is in use as long as its lock file is
// locked, which ends with the process. release removes the folder.
func workDir(dir string) (name string, release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	all, err := locked(filepath.Join(dir, ".lock"), unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer all.Close() // so that nobody sees a folder without its lock
	if err := removeAbandoned(dir); err != nil {
		return "", nil, err
	}
	if name, err = os.MkdirTemp(dir, "build-*"); err != nil {
		return "", nil, err
	}
	own, err := locked(filepath.Join(name, ".lock"), unix.LOCK_EX)
	if err != nil {
		os.RemoveAll(name)
		return "", nil, err
	}
	return name, func() {
		os.RemoveAll(name)
		own.Close()
	}, nil
}

func removeAbandoned(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "build-*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		lock, err := locked(filepath.Join(name, ".lock"), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // somebody is building there
		}
		err = os.RemoveAll(name)
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func locked(file string, how int) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return f, nil
}
