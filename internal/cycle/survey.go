package cycle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// survey asks upstream for the heads and the registries for what they have,
// all channels at once, and plans. Each channel's head comes first, then the
// commits that it has passed and that are to be filled in.
func (f *Factory) survey(ctx context.Context, patient bool) ([]job, error) {
	planned := make([][]job, len(f.Config.Channels))
	var group errgroup.Group
	group.SetLimit(8)
	for i, ch := range f.Config.Channels {
		group.Go(func() error {
			s, err := f.subject(ch)
			if err != nil {
				planned[i] = []job{revision{subject: s}.failed(git.Rev{}, err)}
				return nil
			}
			planned[i] = f.surveyChannel(ctx, s, patient)
			return nil
		})
	}
	group.Wait() // every error is a channel's own
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Concat(planned...), nil
}

func (f *Factory) surveyChannel(ctx context.Context, s subject, patient bool) []job {
	jobs, concern, all := f.jobs(ctx, s, patient)
	if !all || ctx.Err() != nil {
		return jobs
	}
	for _, j := range jobs {
		if j.plan.Err != nil {
			concern = append(concern, j.plan.Rev)
		}
	}
	if err := f.Store.Concerns(s.channel.Name, concern...); err != nil {
		jobs = append(jobs, revision{subject: s}.failed(git.Rev{}, err))
	}
	return jobs
}

// jobs returns the jobs of a channel and, where that is known, all revisions
// that cycles may try to publish from now on.
func (f *Factory) jobs(ctx context.Context, s subject, patient bool) (jobs []job, concern []git.Rev, all bool) {
	unasked := revision{subject: s}
	if s.channel.Frozen {
		frozen := plan.Make([]plan.Channel{{Name: s.channel.Name, Frozen: true}})[0]
		return []job{{revision: unasked, plan: frozen}}, nil, true
	}
	known, err := f.Store.Head(s.channel.Name)
	if err != nil {
		return []job{unasked.failed(git.Rev{}, err)}, nil, false
	}
	head, err := f.Heads.Head(ctx, s.channel.Name)
	var unknown *heads.UnknownChannelError
	switch {
	case errors.As(err, &unknown) && known != nil:
		gone := f.gone(ctx, unasked, *known, err)
		return []job{gone}, nil, gone.plan.Err == nil
	case err == nil:
		err = plausible(head.Commit, f.Now())
	}
	if err != nil {
		return []job{unasked.failed(git.Rev{}, fmt.Errorf("head: %w", err))}, nil, false
	}
	head.Since = f.since(ctx, head, known)
	if err := f.Store.SetHead(head); err != nil {
		return []job{unasked.failed(git.Rev{}, err)}, nil, false
	}
	first := f.planHead(ctx, s, head, patient)
	passed, concern, all := f.passed(ctx, first.revision, patient)
	return append([]job{first}, passed...), append(concern, head.Rev), all
}

// planHead makes the job for the head of a channel.
func (f *Factory) planHead(ctx context.Context, s subject, head heads.Head, patient bool) job {
	r := revision{subject: s, commit: head.Commit, since: head.Since, isHead: true}
	targets, known := f.resolve(ctx, r)
	known.Waiting = patient && f.waiting(head.Channel, head.Rev)
	return job{revision: r, targets: targets, plan: plan.Make([]plan.Channel{known})[0]}
}

// waiting tells whether the last try to publish a commit failed and the next one
// is not due. A daemon keeps to that; whoever runs a single cycle wants it
// tried.
func (f *Factory) waiting(channel string, rev git.Rev) bool {
	failure, err := f.Store.Failure(channel, rev)
	return err == nil && failure != nil && f.Now().Before(failure.Next)
}

// passed returns the jobs for commits that the channel has passed, newest
// first, and all commits that may be filled in. Those on record cost no request.
func (f *Factory) passed(ctx context.Context, head revision, patient bool) (jobs []job, concern []git.Rev, all bool) {
	n := f.Config.BackfillOf(head.channel)
	if n == 0 {
		return nil, nil, true
	}
	moves, err := f.Heads.Moves(ctx, head.channel.Name, n+1)
	if err != nil {
		return []job{head.failed(git.Rev{}, fmt.Errorf("backfill: %w", err))}, nil, false
	}
	for _, move := range moves {
		concern = append(concern, move.Rev)
		if len(jobs) == n || move.Rev == head.commit.Rev || f.onRecord(head.subject, move.Rev) || patient && f.waiting(head.channel.Name, move.Rev) {
			continue
		}
		jobs = append(jobs, f.planPassed(ctx, head.subject, move.Rev))
	}
	return jobs, concern, true
}

// planPassed makes the job for a commit that the channel has passed.
func (f *Factory) planPassed(ctx context.Context, s subject, rev git.Rev) job {
	commit, err := f.Heads.Commit(ctx, rev.String())
	r := revision{subject: s, commit: commit}
	if err == nil {
		err = plausible(commit, f.Now())
	}
	if err != nil {
		return r.failed(rev, fmt.Errorf("backfill: %w", err))
	}
	targets, known := f.resolve(ctx, r)
	planned := plan.Fill(known)
	return job{revision: r, targets: targets, plan: planned, quiet: planned.Action == plan.None && planned.Err == nil}
}

// onRecord tells whether a revision was published in every destination.
func (f *Factory) onRecord(s subject, rev git.Rev) bool {
	for _, repo := range s.repositories {
		recorded, err := f.Store.Publication(s.channel.Name, repo.Ref(rev.String()))
		if err != nil || recorded == nil {
			return false
		}
	}
	return true
}
