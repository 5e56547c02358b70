package record

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OpenAnew is Open, but a file that is damaged or of another version is set
// aside, and an empty one opened in its place: nothing in a state cannot be
// found again or done without. unusable says why that was done, and aside which
// name the file has now.
func OpenAnew(file string) (s *Store, unusable *UnusableError, aside string, err error) {
	s, err = Open(file)
	if !errors.As(err, &unusable) {
		return s, nil, "", err
	}
	if aside, err = setAside(file); err != nil {
		return nil, nil, "", fmt.Errorf("%w, and setting it aside: %w", unusable, err)
	}
	s, err = Open(file)
	return s, unusable, aside, err
}

// setAside renames a file that nobody has open as a state.
func setAside(file string) (aside string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() // and with it the lock
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", &LockedError{File: file}
	}
	mine, err := f.Stat()
	if err != nil {
		return "", err
	}
	now, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !os.SameFile(mine, now) {
		// Another factory was faster, and what has the name now is sound.
		return "", &LockedError{File: file}
	}
	aside = fmt.Sprintf("%s.aside-%s", file, time.Now().UTC().Format("20060102T150405.000000000Z"))
	return aside, os.Rename(file, aside)
}
