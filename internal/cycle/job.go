package cycle

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// subject is an image of a channel and what it takes to publish it that depends on
// no commit. Where a channel cannot be asked about, it is the channel alone.
type subject struct {
	channel      config.Channel
	image        config.Image
	tags         config.Tags
	recipe       recipe.ID
	repositories []registry.Repository // one in each destination
	label        string                // of its progress
}

func (s subject) id() record.Subject {
	return record.Subject{Channel: s.channel.Name, ImageName: s.image.Name()}
}

// revision is a commit of a channel, to have an image of.
type revision struct {
	subject
	commit heads.Commit
	since  time.Time // when the channel came to its head, for a head
	isHead bool
	byHand bool // somebody asks for it, whatever a cycle would do
}

// commitTag is the tag of the commit. An image without nixpkgs has none.
func (r revision) commitTag() string { return r.tags.Commit(r.commit.Rev.String()) }

// tagsFor are the tags that move with the head. A version or digest that is not
// known is "".
func (r revision) tagsFor(version, digest string) []string {
	return r.tags.For(r.values(version, digest))
}

func (r revision) values(version, digest string) config.TagValues {
	return config.TagValues{Rev: r.commit.Rev, Date: r.commit.Date, Version: version, Digest: digest}
}

// job is what to do about a revision, and what is there of it already.
type job struct {
	revision
	plan    plan.Job
	targets []target
	quiet   bool // nothing is due, and nobody needs to hear of it

	began     record.Moved // what had been moved when it began
	elsewhere record.Moved // what other machines have moved for it

	sent []v1.Hash // layers that every target was sent, or seen to have, a moment ago
}

// having is the job when its targets have these layers.
func (j job) having(sent []v1.Hash) job {
	j.sent = sent
	return j
}

// failed makes a job of the error that keeps a revision, or the channel itself,
// from being looked at.
func (r revision) failed(rev git.Rev, err error) job {
	head := heads.Head{Channel: r.channel.Name, Commit: heads.Commit{Rev: rev}}
	known := plan.Channel{Name: r.channel.Name, ImageName: r.image.Name(), Head: head, HeadErr: err}
	return job{revision: r, plan: plan.Make([]plan.Channel{known})[0]}
}
