package record

import "go.etcd.io/bbolt"

// Succeed ends the failure of a channel, if there is one.
func (s *Store) Succeed(channel string) error {
	return s.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(failuresBucket.name).Delete(key(channel))
	})
}
