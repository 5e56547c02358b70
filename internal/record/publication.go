package record

import (
	"cmp"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

// Publication is one image in one place under one tag.
type Publication struct {
	Subject
	Rev     git.Rev         `json:"rev"` // that it was made for
	Recipe  recipe.ID       `json:"recipe"`
	Image   string          `json:"image"` // repository:tag
	Digest  v1.Hash         `json:"digest"`
	Version string          `json:"version,omitempty"` // of nixpkgs
	Time    time.Time       `json:"time"`
	Systems []config.System `json:"systems"`          // that the image is for
	Action  string          `json:"action,omitempty"` // what led to it, for the history
	Reason  string          `json:"reason,omitempty"`

	// Since is when the channel came to the commit, zero where that is not known or
	// the commit is not its head. It and Moved are for the history.
	Since time.Time `json:"since,omitzero"`
	Moved Moved     `json:"moved,omitzero"`

	// Lacks holds, for each system that was left out, the store path that no
	// cache had. It has no entry for one of which that is not known.
	Lacks map[config.System]nix.BaseName `json:"lacks,omitempty"`

	// Nix is the version of the Nix that evaluated, "" where that is not known.
	Nix string `json:"nix,omitempty"`

	// Plain says that the image does not depend on the commit. Its tag is the same
	// for all of them.
	Plain bool `json:"plain,omitempty"`

	// Checked is when all that is below the digest was last seen to be there.
	Checked time.Time `json:"checked,omitzero"`
}

// Moved is how many bytes went over the network for an image. Of several
// publications of one image the first has all of them, the others none.
type Moved struct {
	Fetched int64 `json:"fetched"` // from upstream and binary caches
	Pushed  int64 `json:"pushed"`  // to registries
}

// Kept is a tag that a registry refuses to write over.
type Kept struct {
	Image  string    `json:"image"`  // repository:tag
	Digest v1.Hash   `json:"digest"` // what the tag should have pointed to
	Recipe recipe.ID `json:"recipe"` // by which that was made
	Time   time.Time `json:"time"`
}

// Record notes what was published. It is called when all of it is in place:
// with it the failure of these revisions, if there was one, is over.
func (s *Store) Record(list []Publication) error {
	return s.update(func(tx *bbolt.Tx) error {
		for _, p := range list {
			if err := p.record(tx); err != nil {
				return err
			}
		}
		if err := publicationsBucket.prune(tx); err != nil {
			return err
		}
		return historyBucket.prune(tx)
	})
}

func (p Publication) record(tx *bbolt.Tx) error {
	p.Time, p.Checked, p.Since = p.Time.UTC(), p.Checked.UTC(), p.Since.UTC()
	if err := publicationsBucket.put(tx, p.key(p.Image), p); err != nil {
		return err
	}
	if err := succeed(tx, p.Subject, p.Rev); err != nil {
		return err
	}
	return historyBucket.put(tx, nil, Event{
		Time: p.Time, Subject: p.Subject, Rev: p.Rev, Image: p.Image, Digest: p.Digest,
		Action: p.Action, Reason: p.Reason, Since: p.Since, Moved: p.Moved,
	})
}

// Check notes that all that is below a published image was there. A publication
// that was replaced meanwhile stays as it is.
func (s *Store) Check(of Subject, image string, digest v1.Hash, at time.Time) error {
	return s.update(func(tx *bbolt.Tx) error {
		p, err := publicationsBucket.get(tx, of.key(image))
		if err != nil || p == nil || p.Digest != digest {
			return err
		}
		p.Checked = at.UTC()
		return publicationsBucket.put(tx, of.key(image), *p)
	})
}

// Publication gives what was last published as image, nil when nothing was.
func (s *Store) Publication(of Subject, image string) (*Publication, error) {
	return view(s, func(tx *bbolt.Tx) (*Publication, error) { return publicationsBucket.get(tx, of.key(image)) })
}

// Publications gives all that is published, by channel and image, the newest first.
func (s *Store) Publications() ([]Publication, error) {
	list, err := view(s, publicationsBucket.all)
	slices.SortStableFunc(list, func(a, b Publication) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.ImageName, b.ImageName), b.Time.Compare(a.Time))
	})
	return list, err
}

// Keep notes that a registry refused to write over a tag.
func (s *Store) Keep(k Kept) error {
	return s.update(func(tx *bbolt.Tx) error {
		k.Time = k.Time.UTC()
		if err := keptBucket.put(tx, key(k.Image), k); err != nil {
			return err
		}
		return keptBucket.prune(tx)
	})
}

// Kept gives what a registry last refused to make of a tag, nil if nothing.
func (s *Store) Kept(image string) (*Kept, error) {
	return view(s, func(tx *bbolt.Tx) (*Kept, error) { return keptBucket.get(tx, key(image)) })
}
