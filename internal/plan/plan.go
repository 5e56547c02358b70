// Package plan turns what is known of each channel's images into what is to be done
// about it, with a reason that a person can read. It is a pure function.
//
// Nothing follows from not knowing: a head or a registry that cannot be asked
// gives an error and no action, never a build, and never a tag written over.
package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
)

// Action is what to do for a channel.
type Action string

// A build makes tags that are not there, a rebuild writes over one that is.
const (
	None    Action = "none"
	Build   Action = "build"
	Rebuild Action = "rebuild"
)

// Reason says why.
type Reason string

// All reasons that a job can have.
const (
	UpToDate      Reason = "up to date"
	NewCommit     Reason = "new commit"
	RecipeChanged Reason = "recipe changed"
	Missing       Reason = "missing in registry"
	Incomplete    Reason = "incomplete in registry"
	SystemCame    Reason = "system available"
	Requested     Reason = "requested"
	Backfill      Reason = "backfill"
	Frozen        Reason = "frozen"
	Gone          Reason = "frozen, its branch is gone"
	Waiting       Reason = "waiting after a failure"
	Kept          Reason = "kept, its tag is immutable" // known after the build only
	Unchanged     Reason = "unchanged"                  // known after the evaluation only
)

// Channel is what is known of an image of a channel, or of one revision of it.
type Channel struct {
	Name      string
	ImageName string     // "" where nothing is known of the channel's images
	Head      heads.Head // the revision to have an image of
	HeadErr   error      // why Head is not known
	Recipe    recipe.ID  // by which an image would be made now
	Systems   []config.System
	Images    []string    // repository:tag, one for each destination
	Published []Published // what is there now, in the order of Images

	// Frozen says that the channel reached its end of life: nothing of it changes.
	// Gone says so because upstream has no such branch any more.
	Frozen, Gone bool

	// Waiting says that the last try failed and the next one is not due.
	Waiting bool

	// Recorded is the newest publication of the image, nil when there is none.
	Recorded *record.Publication
}

// Published is what a destination says of the tag of a commit. It is not there
// when Found is false and Err is nil; Err says which destination cannot be
// asked, and why. Rev and Recipe are what is written on the image, zero when
// nothing is.
type Published struct {
	Found  bool
	Rev    git.Rev
	Digest v1.Hash
	Recipe recipe.ID
	Err    error

	// Incomplete says that something below the digest is gone, so that the
	// image cannot be pulled.
	Incomplete bool

	// Arrived says that a system which the image was made without may be had now.
	Arrived bool

	// Kept says that the registry refuses to have this image replaced by one of
	// the present recipe.
	Kept bool
}

// Job is what to do for a channel. Err is set when that cannot be known; then
// the action is none and there is no reason.
type Job struct {
	Channel   string
	ImageName string  // "" where the job is about the channel itself
	Rev       git.Rev // zero when the head is not known
	Action    Action
	Reason    Reason
	Systems   []config.System
	Images    []string // one for each destination
	Tags      []string // that would be set or moved; only where somebody has looked
	Head      heads.Head
	Err       error
}

// MarshalJSON gives {channel, imageName, rev, action, reason, systems, images, tags}, and
// error where there is one.
func (j Job) MarshalJSON() ([]byte, error) {
	out := struct {
		Channel   string          `json:"channel"`
		ImageName string          `json:"imageName"`
		Rev       git.Rev         `json:"rev"`
		Action    Action          `json:"action"`
		Reason    Reason          `json:"reason"`
		Systems   []config.System `json:"systems"`
		Images    []string        `json:"images"`
		Tags      []string        `json:"tags"`
		Error     string          `json:"error,omitempty"`
	}{j.Channel, j.ImageName, j.Rev, j.Action, j.Reason, list(j.Systems), list(j.Images), list(j.Tags), ""}
	if j.Err != nil {
		out.Error = j.Err.Error()
	}
	return json.Marshal(out)
}

// list is what JSON has as a list, also if it is empty.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Make plans a cycle: one job for each channel, in the same order.
func Make(channels []Channel) []Job {
	jobs := make([]Job, len(channels))
	for i, ch := range channels {
		jobs[i] = ch.job()
		switch {
		case ch.Gone:
			jobs[i].Err, jobs[i].Reason = nil, Gone
		case ch.Frozen:
			jobs[i].Err, jobs[i].Reason = nil, Frozen
		case jobs[i].Err == nil:
			jobs[i].Action, jobs[i].Reason = ch.decide()
			if ch.Waiting && jobs[i].Action != None {
				jobs[i].Action, jobs[i].Reason = None, Waiting
			}
		}
	}
	return jobs
}

// Fill plans the image of a revision that the channel has passed. It is built
// where nothing has its tag, or where the same image is in some places only;
// nothing else that is there is ever written over.
func Fill(ch Channel) Job {
	job := ch.job()
	switch {
	case job.Err != nil:
	case ch.count(Published.found) == 0, ch.count(Published.found) < len(ch.Published) && ch.count(ch.current) == ch.count(Published.found):
		job.Action, job.Reason = Build, Backfill
	default:
		job.Reason = UpToDate
	}
	return job
}

// Request plans an image that somebody asks for, whatever a cycle would do.
// The head of a channel is built again where it is already. Another revision
// is put where it is not, and only if that changes nothing where it is: the
// tag of an outdated commit never changes.
func Request(ch Channel, isHead bool) Job {
	job := ch.job()
	found, current := ch.count(Published.found), ch.count(ch.current)
	switch {
	case job.Err != nil:
	case found == 0:
		job.Action, job.Reason = Build, Requested
	case isHead:
		job.Action, job.Reason = Rebuild, Requested
	case current < found:
		job.Err = fmt.Errorf("%s is not the head of %s, and another image has its tag: the tag of an outdated commit never changes", ch.Head.Rev, ch.Name)
	case found < len(ch.Published):
		job.Action, job.Reason = Build, Requested
	case ch.count(Published.incomplete) > 0:
		job.Action, job.Reason = Rebuild, Requested
	default:
		job.Reason = UpToDate
	}
	return job
}

// job is the job of a channel before anything is decided.
func (ch Channel) job() Job {
	return Job{
		Channel:   ch.Name,
		ImageName: ch.ImageName,
		Rev:       ch.Head.Rev,
		Action:    None,
		Systems:   slices.Clone(ch.Systems),
		Images:    slices.Clone(ch.Images),
		Head:      ch.Head,
		Err:       ch.unknown(),
	}
}

// unknown says what keeps a decision from being made.
func (ch Channel) unknown() error {
	if ch.HeadErr != nil {
		return ch.HeadErr
	}
	if len(ch.Images) == 0 || len(ch.Images) != len(ch.Published) {
		return fmt.Errorf("%d destinations and %d answers from them", len(ch.Images), len(ch.Published))
	}
	var err error
	for _, p := range ch.Published {
		if err != nil && p.Err != nil {
			err = fmt.Errorf("%w; %w", err, p.Err)
		} else if p.Err != nil {
			err = p.Err
		}
	}
	return err
}

// decide applies the rules to a channel about which everything is known.
func (ch Channel) decide() (Action, Reason) {
	switch {
	case ch.count(ch.current) == len(ch.Published) && ch.count(Published.incomplete) > 0:
		return Rebuild, Incomplete
	case ch.count(ch.current) == len(ch.Published) && ch.count(Published.arrived) > 0:
		return Rebuild, SystemCame
	case ch.count(ch.current) == len(ch.Published):
		return None, UpToDate
	case ch.count(ch.foreign) > 0:
		// The tag says one commit and the image another.
		return Rebuild, Missing
	case ch.count(ch.current) < ch.count(Published.found):
		return Rebuild, RecipeChanged
	case ch.count(Published.found) > 0 || ch.Recorded != nil && ch.Recorded.Rev == ch.Head.Rev:
		return Build, Missing
	default:
		return Build, NewCommit
	}
}

func (p Published) found() bool      { return p.Found }
func (p Published) incomplete() bool { return p.Found && p.Incomplete }
func (p Published) arrived() bool    { return p.Found && p.Arrived }

// foreign says that the image is of another revision than its tag.
func (ch Channel) foreign(p Published) bool {
	return p.Found && !p.Rev.IsZero() && p.Rev != ch.Head.Rev
}

// current says that the image is the one that would be made now, or one that
// has to stay in its place.
func (ch Channel) current(p Published) bool {
	return p.Found && (p.Recipe == ch.Recipe || p.Kept) && !ch.foreign(p)
}

func (ch Channel) count(is func(Published) bool) (n int) {
	for _, p := range ch.Published {
		if is(p) {
			n++
		}
	}
	return n
}
