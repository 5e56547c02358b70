package keep

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Unused is how long a closure is kept that nobody takes.
const Unused = 14 * 24 * time.Hour

// Sweep removes what was not taken for the time Unused, what was put aside and
// what killed processes left behind; nothing that is in use. One that cannot be
// removed does not keep the others from being.
func (f Folder) Sweep(now time.Time) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return ignoreAbsent(err)
	}
	var problems []error
	for _, entry := range entries {
		if f.stays(entry, now) {
			continue
		}
		problems = append(problems, removeUnused(filepath.Join(f.Dir, entry.Name())))
	}
	return errors.Join(problems...)
}

// stays tells whether an entry is one to keep. What is not of our making is.
func (f Folder) stays(entry fs.DirEntry, now time.Time) bool {
	info, err := entry.Info()
	if err != nil {
		return true // it has just gone
	}
	age := now.Sub(info.ModTime())
	if unfinished(entry.Name()) {
		return age < time.Minute // its maker may be about to lock it
	}
	_, err = nix.ParseStorePathBase(entry.Name())
	return err != nil || age < Unused
}

// unfinished tells whether what has this name is no closure to take.
func unfinished(name string) bool {
	return strings.HasPrefix(name, partPrefix) || strings.HasPrefix(name, deadPrefix)
}

// removeUnused removes a folder or file, unless somebody holds its lock.
func removeUnused(name string) error {
	held, err := tryLock(name, unix.LOCK_EX, false)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer held.Close()
	if info, err := held.Stat(); err == nil && info.IsDir() && !unfinished(filepath.Base(name)) {
		// It goes by another name first, so that nobody takes what is there by half.
		if name, err = aside(name); err != nil {
			return ignoreAbsent(err)
		}
	}
	return os.RemoveAll(name)
}

// aside gives a closure a name of those that are removed.
func aside(kept string) (dead string, err error) {
	if dead, err = os.MkdirTemp(filepath.Dir(kept), deadPrefix+"*"); err != nil {
		return "", err
	}
	if err := unix.Rename(kept, dead); err != nil { // unlike os.Rename it replaces an empty folder
		return "", errors.Join(&fs.PathError{Op: "rename", Path: kept, Err: err}, os.Remove(dead))
	}
	return dead, nil
}
