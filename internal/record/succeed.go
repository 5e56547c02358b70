package record

import "go.etcd.io/bbolt"

// Succeed ends the failure of a channel, if it is one of this revision, or one
// that came before the revision was known.
func (s *Store) Succeed(channel, rev string) error {
	return s.update(func(tx *bbolt.Tx) error { return succeed(tx, channel, rev) })
}

func succeed(tx *bbolt.Tx, channel, rev string) error {
	f, err := get[Failure](tx, failuresBucket, key(channel))
	if err != nil || f == nil || f.Rev != rev && f.Rev != "" {
		return err
	}
	return tx.Bucket(failuresBucket.name).Delete(key(channel))
}
