package record

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Snapshot opens a copy of a state file for reading. It takes no lock of the
// file itself, so it neither waits for a factory nor keeps one from starting.
// Where there is no file the error is fs.ErrNotExist. Close removes the copy.
func Snapshot(file string) (*Store, error) {
	for try := 0; ; try++ {
		s, whole, err := openCopy(file)
		damaged := (*CorruptError)(nil)
		switch {
		case whole || try == copies || err != nil && !errors.As(err, &damaged):
			return s, err
		case err == nil:
			if err := s.Close(); err != nil {
				return nil, err
			}
		}
	}
}

// copies is how often a copy that writes have come into is made again.
const copies = 4

// openCopy copies a state file and opens the copy. whole tells that no write
// can have torn it: what is wrong with it is wrong with the file.
func openCopy(file string) (_ *Store, whole bool, err error) {
	from, err := os.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer from.Close()
	dir, err := os.MkdirTemp("", "factory-state-*")
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	name := filepath.Join(dir, filepath.Base(file))
	if whole, err = copyState(from, name); err != nil {
		return nil, whole, err
	}
	s, err := Open(name)
	var damaged *CorruptError
	if errors.As(err, &damaged) {
		damaged.File = file
	}
	if err != nil {
		return nil, whole, err
	}
	s.copied = dir
	return s, whole, nil
}

// copyState copies a file that may be written meanwhile, and tells whether no
// write can have torn the copy. bbolt never writes over what the newest but one
// commit needs, and a commit ends with one of the two pages at the beginning: if
// these are the same before and after, the copy is the state that they name.
func copyState(from *os.File, name string) (whole bool, err error) {
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	before := metaPages(from)
	_, err = io.Copy(to, from)
	if err == nil {
		_, err = to.WriteAt(before, 0)
	}
	return bytes.Equal(before, metaPages(from)), errors.Join(err, to.Close())
}

// metaPages reads the two pages that say which state of a file is the newest.
func metaPages(f *os.File) []byte {
	pages := make([]byte, 2*os.Getpagesize())
	n, _ := f.ReadAt(pages, 0) // a file that is shorter is found damaged when it is opened
	return pages[:n]
}
