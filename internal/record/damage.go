package record

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// CorruptError tells that the state file is damaged.
type CorruptError struct {
	File string
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: damaged (%v): if this is the factory's state file, delete it: what is published is found again in the registries, only the history and the count of failures are lost", e.File, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// damage marks the errors that a sound file cannot give.
type damage struct{ err error }

func (d *damage) Error() string { return d.err.Error() }

// guard turns what bbolt does on a damaged file, panics and faults of the
// mapped memory among it, into *CorruptError.
func (s *Store) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &CorruptError{File: s.file, Err: fmt.Errorf("%v", r)}
		}
	}()
	err = fn()
	var d *damage
	if errors.As(err, &d) {
		return &CorruptError{File: s.file, Err: d.err}
	}
	return err
}

// checkSize finds a file that was cut off. It can be mapped beyond its end, but
// not read there.
func (s *Store) checkSize(tx *bbolt.Tx) error {
	info, err := os.Stat(s.file)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return &damage{fmt.Errorf("%d bytes of %d", info.Size(), tx.Size())}
	}
	return nil
}
