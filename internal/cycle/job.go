package cycle

import (
	"time"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// subject is a channel and what it takes to publish it that depends on no commit.
type subject struct {
	channel      config.Channel
	recipe       recipe.ID
	repositories []registry.Repository // one in each destination
}

// revision is a commit of a channel, to have an image of.
type revision struct {
	subject
	commit heads.Commit
	since  time.Time // when the channel came to its head, for a head
	isHead bool
	byHand bool // somebody asks for it, whatever a cycle would do
}

// job is what to do about a revision, and what is there of it already.
type job struct {
	revision
	plan    plan.Job
	targets []target
	quiet   bool // nothing is due, and nobody needs to hear of it
}

// failed makes a job of the error that keeps a revision of the channel, or the
// channel itself, from being looked at.
func (r revision) failed(rev git.Rev, err error) job {
	head := heads.Head{Channel: r.channel.Name, Commit: heads.Commit{Rev: rev}}
	return job{revision: r, plan: plan.Make([]plan.Channel{{Name: r.channel.Name, Head: head, HeadErr: err}})[0]}
}
