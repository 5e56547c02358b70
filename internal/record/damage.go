package record

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// UnusableError tells that a file is damaged, is no state at all, or is that of
// another version of the factory.
type UnusableError struct {
	File string
	Err  error
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("%s: not a state that this factory can read (%v): the next cycle sets it aside and begins a new one. What is published is found again in the registries, the history and the count of failures are not", e.File, e.Err)
}

func (e *UnusableError) Unwrap() error { return e.Err }

// damage marks the errors that a sound file of this version cannot give.
type damage struct{ err error }

func (d *damage) Error() string { return d.err.Error() }

// guard turns what bbolt does on a damaged file, panics and faults of the
// mapped memory among it, into *UnusableError.
func (s *Store) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &UnusableError{File: s.file, Err: fmt.Errorf("%v", r)}
		}
	}()
	err = fn()
	var d *damage
	if errors.As(err, &d) {
		return &UnusableError{File: s.file, Err: d.err}
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
