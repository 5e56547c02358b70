package factory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// due is a job and what was learned on the way to it.
type due struct {
	job     plan.Job
	channel config.Channel
	commit  heads.Commit
	since   time.Time // when the channel came to its head, for a head
	isHead  bool
	quiet   bool // nothing is due, and nobody needs to hear of it
	byHand  bool // somebody asks for it, whatever a cycle would do
	recipe  string
	places  []place
}

// survey asks upstream for the heads and the registries for what they have,
// all channels at once, and plans. Each channel's head comes first, then the
// commits that it has passed and that are to be filled in.
func (f *Factory) survey(ctx context.Context) ([]due, error) {
	found := make([][]due, len(f.Config.Channels))
	var group errgroup.Group
	group.SetLimit(8)
	for i, ch := range f.Config.Channels {
		group.Go(func() error {
			d, err := f.open(ch)
			if err != nil {
				found[i] = []due{d.failed("", err)}
				return nil
			}
			found[i] = f.surveyChannel(ctx, d)
			return nil
		})
	}
	group.Wait() // every error is a channel's own
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var all []due
	for _, dues := range found {
		all = append(all, dues...)
	}
	return all, nil
}

func (f *Factory) surveyChannel(ctx context.Context, d due) []due {
	dues, concern, known := f.dues(ctx, d)
	if !known || ctx.Err() != nil {
		return dues
	}
	for _, d := range dues {
		if d.job.Err != nil {
			concern = append(concern, d.job.Rev)
		}
	}
	if err := f.Store.Concerns(d.channel.Name, concern...); err != nil {
		dues = append(dues, d.failed("", err))
	}
	return dues
}

// dues returns the jobs of a channel and, where that is known, all revisions
// that cycles may try to publish from now on.
func (f *Factory) dues(ctx context.Context, d due) (dues []due, concern []string, all bool) {
	if d.channel.Frozen {
		d.job = plan.Make([]plan.Channel{{Name: d.channel.Name, Frozen: true}})[0]
		return []due{d}, nil, true
	}
	known, err := f.Store.Head(d.channel.Name)
	if err != nil {
		return []due{d.failed("", err)}, nil, false
	}
	head, err := f.Heads.Head(ctx, d.channel.Name)
	var unknown *heads.UnknownChannelError
	switch {
	case errors.As(err, &unknown) && known != nil:
		d = f.gone(ctx, d, *known, err)
		return []due{d}, nil, d.job.Err == nil
	case err == nil:
		err = plausible(head.Commit, f.Now())
	}
	if err != nil {
		return []due{d.failed("", fmt.Errorf("head: %w", err))}, nil, false
	}
	head.Since = f.since(ctx, head, known)
	if err := f.Store.SetHead(head); err != nil {
		return []due{d.failed("", err)}, nil, false
	}
	d.commit, d.since, d.isHead = head.Commit, head.Since, true
	asked := f.ask(ctx, &d)
	asked.Waiting = f.waiting(head.Channel, head.Rev)
	d.job = plan.Make([]plan.Channel{asked})[0]
	passed, concern, all := f.passed(ctx, d)
	return append([]due{d}, passed...), append(concern, head.Rev), all
}

// failed makes a job of the error that keeps a revision of the channel, or the
// channel itself, from being looked at.
func (d due) failed(rev string, err error) due {
	at := heads.Head{Channel: d.channel.Name, Commit: heads.Commit{Rev: rev}}
	d.job = plan.Make([]plan.Channel{{Name: d.channel.Name, Head: at, HeadErr: err}})[0]
	return d
}

// waiting tells whether the last try to publish a commit failed and the next one
// is not due. A daemon keeps to that; whoever runs a single cycle wants it
// tried.
func (f *Factory) waiting(channel, rev string) bool {
	if !f.Patient {
		return false
	}
	failure, err := f.Store.Failure(channel, rev)
	return err == nil && failure != nil && f.Now().Before(failure.Next)
}

// passed returns the jobs for commits that the channel has passed, newest
// first, and all commits that may be filled in. Those on record cost no request.
func (f *Factory) passed(ctx context.Context, d due) (jobs []due, concern []string, all bool) {
	n := f.Config.BackfillOf(d.channel)
	if n == 0 {
		return nil, nil, true
	}
	moves, err := f.Heads.Moves(ctx, d.channel.Name, n+1)
	if err != nil {
		return []due{d.failed("", fmt.Errorf("backfill: %w", err))}, nil, false
	}
	for _, move := range moves {
		concern = append(concern, move.Rev)
		if len(jobs) == n || move.Rev == d.commit.Rev || f.onRecord(d, move.Rev) || f.waiting(d.channel.Name, move.Rev) {
			continue
		}
		jobs = append(jobs, f.fill(ctx, d, move.Rev))
	}
	return jobs, concern, true
}

// fill makes the job for a commit that the channel has passed.
func (f *Factory) fill(ctx context.Context, head due, rev string) due {
	d := due{channel: head.channel, recipe: head.recipe, places: unasked(head.places)}
	var err error
	if d.commit, err = f.Heads.Commit(ctx, rev); err == nil {
		err = plausible(d.commit, f.Now())
	}
	if err != nil {
		return d.failed(rev, fmt.Errorf("backfill: %w", err))
	}
	d.job = plan.Fill(f.ask(ctx, &d))
	d.quiet = d.job.Action == plan.None && d.job.Err == nil
	return d
}

// onRecord tells whether a revision was published in every place.
func (f *Factory) onRecord(d due, rev string) bool {
	for _, p := range d.places {
		recorded, err := f.Store.Publication(d.channel.Name, p.repo.Ref(rev))
		if err != nil || recorded == nil {
			return false
		}
	}
	return true
}

func unasked(places []place) []place {
	clean := make([]place, len(places))
	for i, p := range places {
		clean[i] = place{repo: p.repo}
	}
	return clean
}

// ask asks each place for the tag of the commit.
func (f *Factory) ask(ctx context.Context, d *due) plan.Channel {
	asked := plan.Channel{
		Name:    d.channel.Name,
		Head:    heads.Head{Channel: d.channel.Name, Commit: d.commit},
		Recipe:  d.recipe,
		Systems: systemNames(f.Config.SystemsOf(d.channel)),
	}
	for i := range d.places {
		p := &d.places[i]
		f.look(ctx, p, d)
		if d.isHead || d.byHand {
			f.examine(ctx, p, d)
		}
		asked.Images = append(asked.Images, p.image)
		asked.Published = append(asked.Published, p.state)
		if asked.Recorded == nil {
			asked.Recorded = p.recorded
		}
	}
	return asked
}
