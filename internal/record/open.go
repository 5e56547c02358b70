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

// schema says which buckets there are, and which values are in them. A file of
// another one is not read: what it says is found again in the registries.
const schema = 5

// LockedError tells that another program has the state file open.
type LockedError struct{ File string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s: another factory is using this state file", e.File)
}

// Open opens the state file, and makes it with mode 0600 when it is not there.
// It does not wait for a lock: *LockedError. A file that is damaged or of another
// version is left as it is: *UnusableError. The caller closes the Store.
func Open(file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return nil, err
	}
	s := &Store{file: file}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
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
	var unusable *UnusableError
	var path *os.PathError
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unusable):
		// bbolt gave up half-way and keeps the lock, and what it has mapped keeps
		// the file open.
		return errors.Join(err, unix.Flock(int(opened.Fd()), unix.LOCK_UN), opened.Close())
	case errors.Is(err, bolterrors.ErrTimeout):
		return &LockedError{File: s.file}
	case errors.As(err, &path):
		return err
	case errors.As(err, &errno):
		return fmt.Errorf("%s: %w", s.file, err)
	}
	// What the system did not refuse is wrong in the file.
	return &UnusableError{File: s.file, Err: err}
}

// prepare reads everything in the file, or fills one that is new.
func (s *Store) prepare() error {
	found, err := view(s, func(tx *bbolt.Tx) (int, error) {
		if err := s.checkSize(tx); err != nil {
			return 0, err
		}
		found, err := s.schema(tx)
		switch {
		case err != nil || found == 0:
			return found, err
		case found != schema:
			return found, &damage{fmt.Errorf("schema %d of another version, want %d", found, schema)}
		}
		for _, b := range buckets {
			if err := b.check(tx); err != nil {
				return found, err
			}
		}
		return found, nil
	})
	if err != nil || found > 0 {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if err := b.create(tx); err != nil {
				return err
			}
		}
		return setSchema(tx, schema)
	})
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
	found, err := strconv.Atoi(string(meta.Get(schemaKey)))
	if err != nil || found < 1 {
		return 0, &damage{fmt.Errorf("schema %q", meta.Get(schemaKey))}
	}
	return found, nil
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
