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
func Snapshot(file string) (s *Store, err error) {
	data, err := readState(file)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "factory-state-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	name := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return nil, err
	}
	s, err = Open(name)
	var unusable *UnusableError
	if errors.As(err, &unusable) {
		unusable.File = file
	}
	if err != nil {
		return nil, err
	}
	s.copied = dir
	return s, nil
}

// readState reads a file that may be written meanwhile: again, if it was. bbolt
// never writes over what the newest but one commit needs, and a commit ends with
// one of the two pages at the beginning: if these are the same before and after,
// what was read is the state that they name.
func readState(file string) (data []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for range 5 {
		before := metaPages(f)
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(io.NewSectionReader(f, 0, info.Size())); err != nil {
			return nil, err
		}
		copy(data, before)
		if bytes.Equal(before, metaPages(f)) {
			break
		}
	}
	return data, nil
}

// metaPages reads the two pages that say which state of a file is the newest.
func metaPages(f *os.File) []byte {
	pages := make([]byte, 2*os.Getpagesize())
	n, _ := f.ReadAt(pages, 0) // a file that is shorter is found damaged when it is opened
	return pages[:n]
}
