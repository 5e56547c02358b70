package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// lockWait is how long Open tries to get the lock of the file.
const lockWait = 150 * time.Millisecond

// LockedError tells that another program has the state file open.
type LockedError struct{ File string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s: another factory is using this state file", e.File)
}

// SchemaError tells that the state file was written by a newer factory.
type SchemaError struct {
	File        string
	Found, Know int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s: state of schema %d, this factory knows %d at most: use the newer factory, or another state file", e.File, e.Found, e.Know)
}

// migrations[i] takes the file from schema i to i+1. Schema 0 is an empty file.
var migrations = []func(*bbolt.Tx) error{
	createBuckets("etags", "heads", "publications", "history", "layers", "sources", "failures"),
	failuresByRevision,
	dropUnread,
}

func createBuckets(names ...string) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		for _, name := range names {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// failuresByRevision gives each revision's failure a key of its own, and makes
// the bucket of what registries keep.
func failuresByRevision(tx *bbolt.Tx) error {
	if tx.Bucket(failuresBucket.name) == nil {
		return &damage{fmt.Errorf("no bucket %s", failuresBucket.name)}
	}
	failures, err := all[Failure](tx, failuresBucket)
	if err != nil {
		return err
	}
	for _, f := range failures {
		if err := tx.Bucket(failuresBucket.name).Delete(key(f.Channel)); err != nil {
			return err
		}
		if err := put(tx, failuresBucket, key(f.Channel, f.Rev.String()), f); err != nil {
			return err
		}
	}
	return createBuckets("kept")(tx)
}

// dropUnread removes what was written and never read: an image's own annotations
// say which layers it has.
func dropUnread(tx *bbolt.Tx) error {
	for _, name := range []string{"layers", "sources"} {
		if err := tx.DeleteBucket([]byte(name)); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
	}
	return nil
}

// Open opens the state file, and makes it with mode 0600 when it is not there.
// It does not wait for a lock: *LockedError. It brings an older file up to
// date and refuses a newer one with *SchemaError, and a damaged one with
// *CorruptError. The caller closes the Store.
func Open(file string) (*Store, error) {
	return openWith(file, migrations)
}

func openWith(file string, migrations []func(*bbolt.Tx) error) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return nil, err
	}
	s := &Store{file: file}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := s.prepare(migrations); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

func (s *Store) open() error {
	var opened *os.File
	options := &bbolt.Options{
		Timeout: lockWait,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			opened, err = os.OpenFile(name, flag, mode)
			return opened, err
		},
	}
	err := s.guard(func() (err error) {
		s.db, err = bbolt.Open(s.file, 0o600, options)
		return err
	})
	var corrupt *CorruptError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &corrupt):
		// bbolt gave up half-way and keeps the lock, and what it has mapped keeps
		// the file open.
		return errors.Join(err, unix.Flock(int(opened.Fd()), unix.LOCK_UN), opened.Close())
	case errors.Is(err, bolterrors.ErrTimeout):
		return &LockedError{File: s.file}
	}
	var path *os.PathError
	var errno syscall.Errno
	if errors.As(err, &path) {
		return err
	}
	if errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	// What the system did not refuse is wrong in the file.
	return &CorruptError{File: s.file, Err: err}
}

// prepare checks the file and brings it up to date.
func (s *Store) prepare(migrations []func(*bbolt.Tx) error) error {
	var schema int
	err := s.view(func(tx *bbolt.Tx) (err error) {
		if err := s.checkSize(tx); err != nil {
			return err
		}
		if schema, err = s.schema(tx); err != nil {
			return err
		}
		if schema > len(migrations) {
			return &SchemaError{File: s.file, Found: schema, Know: len(migrations)}
		}
		if err := readAll(tx); err != nil {
			return err
		}
		return decodeAll(tx)
	})
	if err != nil {
		return err
	}
	if schema < len(migrations) {
		if err := s.update(func(tx *bbolt.Tx) error { return s.migrate(tx, schema, migrations) }); err != nil {
			return err
		}
	}
	return s.view(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if tx.Bucket(b.name) == nil {
				return &damage{fmt.Errorf("no bucket %s", b.name)}
			}
		}
		return nil
	})
}

func (s *Store) migrate(tx *bbolt.Tx, schema int, migrations []func(*bbolt.Tx) error) error {
	for ; schema < len(migrations); schema++ {
		if err := migrations[schema](tx); err != nil {
			return fmt.Errorf("%s: from schema %d to %d: %w", s.file, schema, schema+1, err)
		}
	}
	return setSchema(tx, schema)
}

var (
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")
)

// schema reads the schema of the file, 0 when nothing is in it.
func (s *Store) schema(tx *bbolt.Tx) (int, error) {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return 0, fmt.Errorf("%s: not a state file of the factory: it has a bucket %q and none named meta", s.file, name)
		}
		return 0, nil
	}
	schema, err := strconv.Atoi(string(meta.Get(schemaKey)))
	if err != nil || schema < 1 {
		return 0, &damage{fmt.Errorf("schema %q", meta.Get(schemaKey))}
	}
	return schema, nil
}

func setSchema(tx *bbolt.Tx, schema int) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	return meta.Put(schemaKey, []byte(strconv.Itoa(schema)))
}

// Close releases the file. The Store is not used after that.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.copied != "" {
		err = errors.Join(err, os.RemoveAll(s.copied))
	}
	return err
}

func (s *Store) view(fn func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(fn) })
}

func (s *Store) update(fn func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(fn) })
}
