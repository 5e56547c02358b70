package record

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// After a failure the next try is due after FirstWait, then after twice as
// long each time, at most LongestWait.
const (
	FirstWait   = 2 * time.Minute
	LongestWait = 6 * time.Hour
)

// maxError bounds the text of an error that is kept.
const maxError = 4096

// Failure is why a revision of a channel is not published.
type Failure struct {
	Channel string    `json:"channel"`
	Rev     git.Rev   `json:"rev"` // zero when the channel could not be looked at
	Error   string    `json:"error"`
	Count   int       `json:"count"` // tries of this revision that failed in a row
	Time    time.Time `json:"time"`  // of the last one
	Next    time.Time `json:"next"`  // when the next one is due
}

// Event is a line of the history: a publication, or a failure when Error is set.
type Event struct {
	Time    time.Time `json:"time"`
	Channel string    `json:"channel"`
	Rev     git.Rev   `json:"rev"`
	Image   string    `json:"image,omitempty"`
	Digest  v1.Hash   `json:"digest,omitzero"`
	Action  string    `json:"action,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// Fail notes that a revision of a channel could not be published. Each revision
// has a count of its own: what is wrong with one may not be wrong with another,
// and two that fail side by side do not make each other's waits short. The
// caller has taken secrets out of the text of the error.
func (s *Store) Fail(channel string, rev git.Rev, text string, at time.Time) (f Failure, err error) {
	err = s.update(func(tx *bbolt.Tx) error {
		last, err := get[Failure](tx, failuresBucket, key(channel, rev.String()))
		if err != nil {
			return err
		}
		f = Failure{Channel: channel, Rev: rev, Error: bounded(text), Count: 1, Time: at.UTC()}
		if last != nil {
			f.Count += last.Count
		}
		f.Next = f.Time.Add(wait(f.Count))
		if err := put(tx, failuresBucket, key(channel, rev.String()), f); err != nil {
			return err
		}
		if err := add(tx, historyBucket, Event{Time: f.Time, Channel: channel, Rev: rev, Error: f.Error}); err != nil {
			return err
		}
		return prune(tx, historyBucket)
	})
	return f, err
}

func wait(count int) time.Duration {
	d := FirstWait
	for ; count > 1 && d < LongestWait; count-- {
		d *= 2
	}
	return min(d, LongestWait)
}

func bounded(text string) string { return said.Begin(text, maxError) }

// Failure gives the failure of a channel's revision, nil when its last try went
// well.
func (s *Store) Failure(channel string, rev git.Rev) (f *Failure, err error) {
	err = s.view(func(tx *bbolt.Tx) (err error) {
		f, err = get[Failure](tx, failuresBucket, key(channel, rev.String()))
		return err
	})
	return f, err
}

// Failures gives the failures of all channels, by name and revision.
func (s *Store) Failures() (f []Failure, err error) {
	err = s.view(func(tx *bbolt.Tx) (err error) {
		f, err = all[Failure](tx, failuresBucket)
		return err
	})
	return f, err
}

// History gives the newest events of a channel, or of all channels when it is
// "", the newest first. A limit of 0 means all that are kept: the last 10,000.
func (s *Store) History(channel string, limit int) (events []Event, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(historyBucket.name).Cursor()
		for k, data := c.Last(); k != nil && (limit <= 0 || len(events) < limit); k, data = c.Prev() {
			event, err := decode[Event](historyBucket, k, data)
			if err != nil {
				return err
			}
			if channel == "" || event.Channel == channel {
				events = append(events, *event)
			}
		}
		return nil
	})
	return events, err
}
