package record

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/image"
)

// SetContents notes what is in a published image.
func (s *Store) SetContents(c image.Contents) error {
	return s.update(func(tx *bbolt.Tx) error {
		if err := contentsBucket.put(tx, key(c.Digest.String()), c); err != nil {
			return err
		}
		return contentsBucket.prune(tx)
	})
}

// Contents gives what is in the image of a digest, nil where that is not on record.
func (s *Store) Contents(digest v1.Hash) (*image.Contents, error) {
	return view(s, func(tx *bbolt.Tx) (*image.Contents, error) { return contentsBucket.get(tx, key(digest.String())) })
}
