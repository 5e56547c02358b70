package record

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Snapshot opens a state file for reading, also while a factory has it open:
// then a copy, which Close removes. A copy that a write has torn is made again.
// Where there is no file the error is fs.ErrNotExist.
func Snapshot(file string) (*Store, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	s, err := Open(file)
	var locked *LockedError
	for try := 0; errors.As(err, &locked) && try < 5; try++ {
		if s, err = openCopy(file); err == nil {
			return s, nil
		}
		if torn := (*CorruptError)(nil); errors.As(err, &torn) {
			err = &LockedError{File: file}
		}
	}
	return s, err
}

func openCopy(file string) (_ *Store, err error) {
	dir, err := os.MkdirTemp("", "factory-state-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	from, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	name := filepath.Join(dir, filepath.Base(file))
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return nil, err
	}
	s, err := Open(name)
	if err != nil {
		return nil, err
	}
	s.copied = dir
	return s, nil
}
