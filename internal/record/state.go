package record

import (
	"time"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
)

// Newest returns the publication that tells how an image stands: one of the
// channel's head, else the last one; nil if there is none.
func Newest(publications []Publication, of Subject, head *heads.Head) *Publication {
	var best *Publication
	for i, p := range publications {
		if p.Subject != of {
			continue
		}
		better := best == nil || p.Time.After(best.Time)
		if best != nil && head != nil && (p.Rev == head.Rev) != (best.Rev == head.Rev) {
			better = p.Rev == head.Rev // whatever older commit was published since
		}
		if better {
			best = &publications[i]
		}
	}
	return best
}

// Foremost returns the failure of an image, or of its channel, that matters most: the
// head's, else the last one. Nil when nothing has failed.
func Foremost(failures []Failure, of Subject, head git.Rev) *Failure {
	var found *Failure
	for i, f := range failures {
		switch {
		case f.Channel != of.Channel || f.ImageName != "" && f.ImageName != of.ImageName:
		case !head.IsZero() && f.Rev == head:
			return &failures[i]
		case found == nil || f.Time.After(found.Time):
			found = &failures[i]
		}
	}
	return found
}

// Lag is the time from a channel's move to its head until the image was published,
// or until now if it has not been. It is not known where the move is not.
func Lag(head *heads.Head, published *Publication, now time.Time) (lag time.Duration, known bool) {
	if head == nil || head.Since.IsZero() {
		return 0, false
	}
	until := now
	if published != nil && published.Rev == head.Rev {
		until = published.Time
	}
	return max(until.Sub(head.Since), 0), true
}
