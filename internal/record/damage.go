package record

import (
	"errors"
	"fmt"
	"hash/crc32"
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

// decodeAll decodes every value that is in the file. What does not decode is
// found when the file is opened, and can be set aside then, and not in the
// middle of a cycle.
func decodeAll(tx *bbolt.Tx) error {
	for _, b := range []struct {
		bucket
		decode func(bucket, []byte, []byte) error
	}{
		{etagsBucket, decodes[etag]},
		{headsBucket, decodes[head]},
		{publicationsBucket, decodes[Publication]},
		{historyBucket, decodes[Event]},
		{failuresBucket, decodes[Failure]},
		{keptBucket, decodes[Kept]},
	} {
		in := tx.Bucket(b.name)
		if in == nil {
			continue // of a later schema, or found missing afterwards
		}
		if err := in.ForEach(func(k, v []byte) error { return b.decode(b.bucket, k, v) }); err != nil {
			return err
		}
	}
	return nil
}

func decodes[T any](b bucket, key, data []byte) error {
	_, err := decode[T](b, key, data)
	return err
}

// readAll reads every key and value, to find out what is wrong before anything
// is written. bbolt has no checksums, but what cannot be read shows.
func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return &damage{fmt.Errorf("a bucket %q in %s", k, name)}
			}
			crc32.ChecksumIEEE(v)
			return nil
		})
	})
}
