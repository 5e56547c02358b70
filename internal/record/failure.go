package record

import (
	"slices"
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
	f = Failure{Channel: channel, Rev: rev, Error: said.Begin(text, maxError), Count: 1, Time: at.UTC()}
	err = s.update(func(tx *bbolt.Tx) error {
		last, err := failuresBucket.get(tx, key(channel, rev.String()))
		if err != nil {
			return err
		}
		if last != nil {
			f.Count = last.Count + 1
		}
		f.Next = f.Time.Add(wait(f.Count))
		if err := failuresBucket.put(tx, key(channel, rev.String()), f); err != nil {
			return err
		}
		if err := historyBucket.put(tx, nil, Event{Time: f.Time, Channel: channel, Rev: rev, Error: f.Error}); err != nil {
			return err
		}
		return historyBucket.prune(tx)
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

// Failure gives the failure of a channel's revision, nil when its last try went
// well.
func (s *Store) Failure(channel string, rev git.Rev) (*Failure, error) {
	return view(s, func(tx *bbolt.Tx) (*Failure, error) { return failuresBucket.get(tx, key(channel, rev.String())) })
}

// Failures gives the failures of all channels, by name and revision.
func (s *Store) Failures() ([]Failure, error) { return view(s, failuresBucket.all) }

// Succeed ends the failure of a channel's revision.
func (s *Store) Succeed(channel string, rev git.Rev) error {
	return s.update(func(tx *bbolt.Tx) error { return succeed(tx, channel, rev) })
}

func succeed(tx *bbolt.Tx, channel string, rev git.Rev) error {
	return failuresBucket.in(tx).Delete(key(channel, rev.String()))
}

// Concerns ends the failures of a channel but those of the given revisions:
// nobody will try the others again, so nothing else would ever end them.
func (s *Store) Concerns(channel string, revs ...git.Rev) error {
	over := func(f Failure) bool { return f.Channel == channel && !slices.Contains(revs, f.Rev) }
	// Nearly always there is nothing to end, and a write waits for the disk.
	list, err := s.Failures()
	if err != nil || !slices.ContainsFunc(list, over) {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		list, err := failuresBucket.all(tx)
		for _, f := range list {
			if err == nil && over(f) {
				err = succeed(tx, f.Channel, f.Rev)
			}
		}
		return err
	})
}

// History gives the newest events of a channel, or of all channels when it is
// "", the newest first. A limit of 0 means all that are kept: the last 10,000.
func (s *Store) History(channel string, limit int) ([]Event, error) {
	return view(s, func(tx *bbolt.Tx) (events []Event, err error) {
		c := historyBucket.in(tx).Cursor()
		for k, data := c.Last(); k != nil && (limit <= 0 || len(events) < limit); k, data = c.Prev() {
			event, err := historyBucket.decode(k, data)
			if err != nil {
				return nil, err
			}
			if channel == "" || event.Channel == channel {
				events = append(events, event)
			}
		}
		return events, nil
	})
}
