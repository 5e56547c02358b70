// Package record turns what the factory did into one bbolt file and back.
//
// The file is a cache with a memory: all of it but the history can be found
// again from the registries, so losing it costs requests and no builds. One
// program has it open at a time. Every method is one transaction: after a
// crash the file says either what it said before or all of what was recorded.
// Nothing in it is secret.
package record

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/image"
)

// Store is an open state file. It may be used by many goroutines.
type Store struct {
	file   string
	db     *bbolt.DB
	copied string // folder of the copy that this is, removed by Close
}

// A bucket holds values of one type. Where new keys keep coming, it is bounded:
// the values written longest ago go first.
type bucket[T any] struct {
	name string
	most int // 0: as many as there are channels, and revisions of them that are due
}

var (
	etagsBucket        = bucket[etag]{"etags", 2_000}
	headsBucket        = bucket[head]{"heads", 0}
	publicationsBucket = bucket[Publication]{"publications", 10_000}
	historyBucket      = bucket[Event]{"history", 10_000}
	failuresBucket     = bucket[Failure]{"failures", 0}
	keptBucket         = bucket[Kept]{"kept", 10_000}
	contentsBucket     = bucket[image.Contents]{"contents", 500}

	buckets = []interface {
		create(*bbolt.Tx) error
		check(*bbolt.Tx) error
	}{etagsBucket, headsBucket, publicationsBucket, historyBucket, failuresBucket, keptBucket, contentsBucket}
)

// envelope is what is stored around every value: the version of its shape, and
// a number that rises with every write to the bucket.
type envelope struct {
	Version int             `json:"v"`
	Serial  uint64          `json:"n"`
	Value   json.RawMessage `json:"value"`
}

// version is that of the shape of all values.
const version = 1

// key joins parts that cannot hold a zero byte.
func key(parts ...string) []byte {
	var k []byte
	for i, part := range parts {
		if i > 0 {
			k = append(k, 0)
		}
		k = append(k, part...)
	}
	return k
}

func (b bucket[T]) in(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket([]byte(b.name)) }

func (b bucket[T]) create(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket([]byte(b.name))
	return err
}

// check reads every value. What cannot be read is found when the file is opened,
// and can be set aside then, and not in the middle of a cycle.
func (b bucket[T]) check(tx *bbolt.Tx) error {
	if b.in(tx) == nil {
		return &damage{fmt.Errorf("no bucket %s", b.name)}
	}
	_, err := b.all(tx)
	return err
}

// put writes a value over the one that was there. Without a key it is the number
// of the write, so that the order of keys is the order in which values came.
func (b bucket[T]) put(tx *bbolt.Tx, key []byte, value T) error {
	serial, err := b.in(tx).NextSequence()
	if err != nil {
		return err
	}
	if key == nil {
		key = binary.BigEndian.AppendUint64(nil, serial)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if data, err = json.Marshal(envelope{Version: version, Serial: serial, Value: data}); err != nil {
		return err
	}
	return b.in(tx).Put(key, data)
}

// get reads a value. It is nil when there is none.
func (b bucket[T]) get(tx *bbolt.Tx, key []byte) (*T, error) {
	data := b.in(tx).Get(key)
	if data == nil {
		return nil, nil
	}
	value, err := b.decode(key, data)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

func (b bucket[T]) decode(key, data []byte) (value T, err error) {
	var e envelope
	if err = json.Unmarshal(data, &e); err == nil && e.Version != version {
		err = fmt.Errorf("version %d", e.Version)
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &value)
	}
	if err != nil {
		err = &damage{fmt.Errorf("%s %q: %w", b.name, key, err)}
	}
	return value, err
}

// all reads the values of a bucket in the order of their keys.
func (b bucket[T]) all(tx *bbolt.Tx) (values []T, err error) {
	err = b.in(tx).ForEach(func(key, data []byte) error {
		value, err := b.decode(key, data)
		values = append(values, value)
		return err
	})
	return values, err
}

// prune takes away what was written longest ago from a bucket that is over its bound.
func (b bucket[T]) prune(tx *bbolt.Tx) error {
	if b.most == 0 || count(b.in(tx)) <= b.most {
		return nil
	}
	type entry struct {
		serial uint64
		key    []byte
	}
	var entries []entry
	err := b.in(tx).ForEach(func(key, data []byte) error {
		var e envelope // and not what is in it, of 10,000 values
		err := json.Unmarshal(data, &e)
		entries = append(entries, entry{e.Serial, slices.Clone(key)})
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(b.serial, a.serial) })
	for _, e := range entries[b.most:] {
		if err := b.in(tx).Delete(e.key); err != nil {
			return err
		}
	}
	return nil
}

// count counts keys, with those that the running transaction has written.
func count(in *bbolt.Bucket) int {
	n, c := 0, in.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}

// view gives what a function reads.
func view[T any](s *Store, read func(*bbolt.Tx) (T, error)) (value T, err error) {
	err = s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			value, err = read(tx)
			return err
		})
	})
	return value, err
}

func (s *Store) update(write func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(write) })
}
