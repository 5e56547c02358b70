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

// Subject is an image that is made of a channel.
type Subject struct {
	Channel   string `json:"channel"`
	ImageName string `json:"imageName"` // "" for what concerns every image of the channel
}

// key joins the subject and what of it is meant.
func (s Subject) key(what string) []byte { return key(s.Channel, s.ImageName, what) }

// includes tells whether another subject is this one, or one of those that it
// stands for where a part of it is "".
func (s Subject) includes(other Subject) bool {
	return (s.Channel == "" || s.Channel == other.Channel) && (s.ImageName == "" || s.ImageName == other.ImageName)
}

// Failure is why there is no image of a revision.
type Failure struct {
	Subject
	Rev   git.Rev   `json:"rev"` // zero when the channel could not be looked at
	Error string    `json:"error"`
	Count int       `json:"count"` // tries of this revision that failed in a row
	Time  time.Time `json:"time"`  // of the last one
	Next  time.Time `json:"next"`  // when the next one is due
}

// Event is a line of the history: a publication, or a failure when Error is set.
type Event struct {
	Time time.Time `json:"time"`
	Subject
	Rev    git.Rev `json:"rev"`
	Image  string  `json:"image,omitempty"`
	Digest v1.Hash `json:"digest,omitzero"`
	Action string  `json:"action,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Error  string  `json:"error,omitempty"`

	Since time.Time `json:"since,omitzero"` // when the channel came to the revision; zero: not known
	Moved Moved     `json:"moved,omitzero"` // for what was published
}

// Fail notes that a revision of a channel could not be published. Each revision
// has a count of its own: what is wrong with one may not be wrong with another,
// and two that fail side by side do not make each other's waits short. The
// caller has taken secrets out of the text of the error.
func (s *Store) Fail(of Subject, rev git.Rev, text string, at time.Time) (f Failure, err error) {
	f = Failure{Subject: of, Rev: rev, Error: said.Begin(text, maxError), Count: 1, Time: at.UTC()}
	err = s.update(func(tx *bbolt.Tx) error {
		last, err := failuresBucket.get(tx, of.key(rev.String()))
		if err != nil {
			return err
		}
		if last != nil {
			f.Count = last.Count + 1
		}
		f.Next = f.Time.Add(wait(f.Count))
		if err := failuresBucket.put(tx, of.key(rev.String()), f); err != nil {
			return err
		}
		if err := historyBucket.put(tx, nil, Event{Time: f.Time, Subject: of, Rev: rev, Error: f.Error}); err != nil {
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

// Failure gives the failure of a revision, nil when its last try went well.
func (s *Store) Failure(of Subject, rev git.Rev) (*Failure, error) {
	return view(s, func(tx *bbolt.Tx) (*Failure, error) { return failuresBucket.get(tx, of.key(rev.String())) })
}

// Failures gives the failures of all channels, by name and revision.
func (s *Store) Failures() ([]Failure, error) { return view(s, failuresBucket.all) }

// Succeed ends the failure of a revision.
func (s *Store) Succeed(of Subject, rev git.Rev) error {
	return s.update(func(tx *bbolt.Tx) error { return succeed(tx, of, rev) })
}

func succeed(tx *bbolt.Tx, of Subject, rev git.Rev) error {
	return failuresBucket.in(tx).Delete(of.key(rev.String()))
}

// Concerns ends the failures of a channel but those that are to be kept: nobody
// will try the others again, so nothing else would ever end them.
func (s *Store) Concerns(channel string, keep func(Failure) bool) error {
	over := func(f Failure) bool { return f.Channel == channel && !keep(f) }
	// Nearly always there is nothing to end, and a write waits for the disk.
	list, err := s.Failures()
	if err != nil || !slices.ContainsFunc(list, over) {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		list, err := failuresBucket.all(tx)
		for _, f := range list {
			if err == nil && over(f) {
				err = succeed(tx, f.Subject, f.Rev)
			}
		}
		return err
	})
}

// History gives the newest events of a subject, the newest first; a part of it
// that is "" stands for all. A limit of 0 means all that are kept: the last 10,000.
func (s *Store) History(of Subject, limit int) ([]Event, error) {
	return view(s, func(tx *bbolt.Tx) (events []Event, err error) {
		c := historyBucket.in(tx).Cursor()
		for k, data := c.Last(); k != nil && (limit <= 0 || len(events) < limit); k, data = c.Prev() {
			event, err := historyBucket.decode(k, data)
			if err != nil {
				return nil, err
			}
			if of.includes(event.Subject) {
				events = append(events, event)
			}
		}
		return events, nil
	})
}
