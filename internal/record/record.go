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
)

// Store is an open state file. It may be used by many goroutines.
type Store struct {
	file   string
	db     *bbolt.DB
	copied string // folder of the copy that this is, removed by Close
}

// A bucket holds one kind of value. Where new keys keep coming, it is bounded:
// the values written longest ago go first.
type bucket struct {
	name []byte
	most int // 0: as many as there are channels, and revisions of them that are due
}

var (
	etagsBucket        = bucket{[]byte("etags"), 2_000}
	headsBucket        = bucket{[]byte("heads"), 0}
	publicationsBucket = bucket{[]byte("publications"), 10_000}
	historyBucket      = bucket{[]byte("history"), 10_000}
	failuresBucket     = bucket{[]byte("failures"), 0}
	keptBucket         = bucket{[]byte("kept"), 10_000}

	buckets = []bucket{etagsBucket, headsBucket, publicationsBucket, historyBucket, failuresBucket, keptBucket}
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

// put writes a value over the one that was there.
func put[T any](tx *bbolt.Tx, b bucket, key []byte, value T) error {
	in := tx.Bucket(b.name)
	serial, err := in.NextSequence()
	if err != nil {
		return err
	}
	return write(in, key, serial, value)
}

// add writes a value under the number of the write, so that the order of keys
// is the order in which they came.
func add[T any](tx *bbolt.Tx, b bucket, value T) error {
	in := tx.Bucket(b.name)
	serial, err := in.NextSequence()
	if err != nil {
		return err
	}
	return write(in, binary.BigEndian.AppendUint64(nil, serial), serial, value)
}

func write(in *bbolt.Bucket, key []byte, serial uint64, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if data, err = json.Marshal(envelope{Version: version, Serial: serial, Value: data}); err != nil {
		return err
	}
	return in.Put(key, data)
}

// get reads a value. It is nil when there is none.
func get[T any](tx *bbolt.Tx, b bucket, key []byte) (*T, error) {
	data := tx.Bucket(b.name).Get(key)
	if data == nil {
		return nil, nil
	}
	return decode[T](b, key, data)
}

func decode[T any](b bucket, key, data []byte) (*T, error) {
	e, err := unwrap(b, key, data)
	if err != nil {
		return nil, err
	}
	var value T
	if err := json.Unmarshal(e.Value, &value); err != nil {
		return nil, &damage{fmt.Errorf("%s %q: %w", b.name, key, err)}
	}
	return &value, nil
}

func unwrap(b bucket, key, data []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return e, &damage{fmt.Errorf("%s %q: %w", b.name, key, err)}
	}
	if e.Version != version {
		return e, &damage{fmt.Errorf("%s %q: version %d", b.name, key, e.Version)}
	}
	return e, nil
}

// all reads the values of a bucket in the order of their keys.
func all[T any](tx *bbolt.Tx, b bucket) ([]T, error) {
	var values []T
	err := tx.Bucket(b.name).ForEach(func(key, data []byte) error {
		value, err := decode[T](b, key, data)
		if err == nil {
			values = append(values, *value)
		}
		return err
	})
	return values, err
}

// prune takes away what was written longest ago from a bucket that is over its bound.
func prune(tx *bbolt.Tx, b bucket) error {
	in := tx.Bucket(b.name)
	if b.most == 0 || count(in) <= b.most {
		return nil
	}
	type entry struct {
		serial uint64
		key    []byte
	}
	var entries []entry
	err := in.ForEach(func(key, data []byte) error {
		e, err := unwrap(b, key, data)
		entries = append(entries, entry{e.Serial, slices.Clone(key)})
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(b.serial, a.serial) })
	for _, e := range entries[b.most:] {
		if err := in.Delete(e.key); err != nil {
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
