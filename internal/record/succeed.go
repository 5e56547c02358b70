package record

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Succeed ends the failure of a channel's revision.
func (s *Store) Succeed(channel string, rev git.Rev) error {
	return s.update(func(tx *bbolt.Tx) error { return succeed(tx, channel, rev) })
}

func succeed(tx *bbolt.Tx, channel string, rev git.Rev) error {
	return tx.Bucket(failuresBucket.name).Delete(key(channel, rev.String()))
}

// Concerns ends the failures of a channel but those of the given revisions:
// nobody will try the others again, so nothing else would ever end them.
func (s *Store) Concerns(channel string, revs ...git.Rev) error {
	over := func(tx *bbolt.Tx) (keys [][]byte) {
		prefix := key(channel, "")
		c := tx.Bucket(failuresBucket.name).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if !slices.ContainsFunc(revs, func(r git.Rev) bool { return r.String() == string(k[len(prefix):]) }) {
				keys = append(keys, slices.Clone(k))
			}
		}
		return keys
	}
	// Nearly always there is nothing to end, and a write waits for the disk.
	nothing := true
	err := s.view(func(tx *bbolt.Tx) error {
		nothing = len(over(tx)) == 0
		return nil
	})
	if err != nil || nothing {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		for _, k := range over(tx) {
			if err := tx.Bucket(failuresBucket.name).Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}
