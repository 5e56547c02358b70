package record

import (
	"time"

	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
)

// head is a heads.Head as it is stored.
type head struct {
	Channel string     `json:"channel"`
	Rev     git.Rev    `json:"rev"`
	Tree    git.TreeID `json:"tree"`
	Date    time.Time  `json:"date"`
	Since   time.Time  `json:"since,omitzero"`
	Gone    time.Time  `json:"gone,omitzero"`
}

// SetHead notes where a channel is.
func (s *Store) SetHead(h heads.Head) error {
	return s.update(func(tx *bbolt.Tx) error {
		return headsBucket.put(tx, key(h.Channel), head{h.Channel, h.Rev, h.Tree, h.Date.UTC(), h.Since.UTC(), time.Time{}})
	})
}

// Head gives where a channel was when it was last seen, nil when it never was.
func (s *Store) Head(channel string) (*heads.Head, error) {
	h, err := s.head(channel)
	if err != nil || h == nil {
		return nil, err
	}
	return &heads.Head{Channel: h.Channel, Commit: heads.Commit{Rev: h.Rev, Tree: h.Tree, Date: h.Date}, Since: h.Since}, nil
}

// SetGone notes that upstream has no branch of a channel that it had, and
// returns since when that is known.
func (s *Store) SetGone(channel string, at time.Time) (since time.Time, err error) {
	err = s.update(func(tx *bbolt.Tx) error {
		h, err := headsBucket.get(tx, key(channel))
		if err != nil || h == nil {
			return err
		}
		if h.Gone.IsZero() {
			h.Gone = at.UTC()
		}
		since = h.Gone
		return headsBucket.put(tx, key(channel), *h)
	})
	return since, err
}

// Gone gives since when a channel's branch is known to be gone, the zero time
// when it was there the last time.
func (s *Store) Gone(channel string) (time.Time, error) {
	h, err := s.head(channel)
	if err != nil || h == nil {
		return time.Time{}, err
	}
	return h.Gone, nil
}

func (s *Store) head(channel string) (*head, error) {
	return view(s, func(tx *bbolt.Tx) (*head, error) { return headsBucket.get(tx, key(channel)) })
}

// etag is the last answer of a server to a request.
type etag struct {
	ETag string `json:"etag"`
	Body []byte `json:"body"`
}

// ETag gives the last answer that was stored for a URL. An answer that cannot
// be read is one that is not there: the server will give another.
func (s *Store) ETag(url string) (tag string, body []byte, ok bool) {
	e, err := view(s, func(tx *bbolt.Tx) (*etag, error) { return etagsBucket.get(tx, key(url)) })
	if err != nil || e == nil {
		return "", nil, false
	}
	return e.ETag, e.Body, true
}

// SetETag stores an answer, with its entity tag, for a URL.
func (s *Store) SetETag(url, tag string, body []byte) error {
	return s.update(func(tx *bbolt.Tx) error {
		if err := etagsBucket.put(tx, key(url), etag{tag, body}); err != nil {
			return err
		}
		return etagsBucket.prune(tx)
	})
}
