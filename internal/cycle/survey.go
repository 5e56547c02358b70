package cycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
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
			planned[i] = f.surveyChannel(ctx, ch, patient)
			return nil
		})
	}
	group.Wait() // every error is a channel's own
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Concat(planned...), nil
}

func (f *Factory) surveyChannel(ctx context.Context, ch config.Channel, patient bool) []job {
	jobs, concern, all := f.jobs(ctx, ch, patient)
	if !all || ctx.Err() != nil {
		return jobs
	}
	keep := func(failure record.Failure) bool {
		return f.isMade(ch, failure.ImageName) && slices.Contains(concern, failure.Rev) || slices.ContainsFunc(jobs, func(j job) bool {
			return j.plan.Err != nil && j.id() == failure.Subject && j.plan.Rev == failure.Rev
		})
	}
	if err := f.Store.Concerns(ch.Name, keep); err != nil {
		jobs = append(jobs, ofChannel(ch).failed(git.Rev{}, err))
	}
	return jobs
}

// ofChannel is a revision of which no more than the channel is known.
func ofChannel(ch config.Channel) revision { return revision{subject: subject{channel: ch}} }

// isMade tells whether an image of that name is made of a channel.
func (f *Factory) isMade(ch config.Channel, image string) bool {
	return slices.ContainsFunc(f.Config.ImagesOf(ch), func(i config.Image) bool { return i.Name() == image })
}

// jobs returns the jobs of a channel and, where that is known, all revisions
// that cycles may try to publish from now on.
func (f *Factory) jobs(ctx context.Context, ch config.Channel, patient bool) (jobs []job, concern []git.Rev, all bool) {
	unasked := ofChannel(ch)
	if ch.Frozen {
		frozen := plan.Make([]plan.Channel{{Name: ch.Name, Frozen: true}})[0]
		return []job{{revision: unasked, plan: frozen}}, nil, true
	}
	known, err := f.Store.Head(ch.Name)
	if err != nil {
		return []job{unasked.failed(git.Rev{}, err)}, nil, false
	}
	head, err := f.Heads.Head(ctx, ch.Name)
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
	for _, img := range f.Config.ImagesOf(ch) {
		jobs = append(jobs, f.planHead(ctx, ch, img, head, patient))
	}
	passed, concern, all := f.passed(ctx, ch, jobs, patient)
	return append(jobs, passed...), append(concern, head.Rev), all
}

// planHead makes the job for an image of the head of a channel.
func (f *Factory) planHead(ctx context.Context, ch config.Channel, img config.Image, head heads.Head, patient bool) job {
	s, err := f.subject(ch, img)
	r := revision{subject: s, commit: head.Commit, since: head.Since, isHead: true}
	if err != nil {
		return r.failed(head.Rev, err)
	}
	targets, known := f.resolve(ctx, r)
	known.Waiting = patient && f.waiting(s, head.Rev)
	return job{revision: r, targets: targets, plan: plan.Make([]plan.Channel{known})[0]}
}

// waiting tells whether the last try to publish a commit failed and the next one
// is not due. A daemon keeps to that; whoever runs a single cycle wants it
// tried.
func (f *Factory) waiting(s subject, rev git.Rev) bool {
	failure, err := f.Store.Failure(s.id(), rev)
	return err == nil && failure != nil && f.Now().Before(failure.Next)
}

// passed returns the jobs for commits that the channel has passed, newest
// first, and all commits that may be filled in. Those on record cost no request.
func (f *Factory) passed(ctx context.Context, ch config.Channel, newest []job, patient bool) (jobs []job, concern []git.Rev, all bool) {
	n := f.Config.BackfillOf(ch)
	if n == 0 {
		return nil, nil, true
	}
	moves, err := f.Heads.Moves(ctx, ch.Name, n+1)
	if err != nil {
		return []job{ofChannel(ch).failed(git.Rev{}, fmt.Errorf("backfill: %w", err))}, nil, false
	}
	filled := make([]int, len(newest))
	for _, move := range moves {
		concern = append(concern, move.Rev)
		read := sync.OnceValues(func() (heads.Commit, error) { return f.Heads.Commit(ctx, move.Rev.String()) })
		for i, head := range newest {
			if filled[i] == n || move.Rev == head.commit.Rev || !head.depends() || f.onRecord(head.subject, move.Rev) || patient && f.waiting(head.subject, move.Rev) {
				continue
			}
			filled[i]++
			jobs = append(jobs, f.planPassed(ctx, head.subject, move.Rev, read))
		}
	}
	return jobs, concern, true
}

// planPassed makes the job for a commit that the channel has passed.
func (f *Factory) planPassed(ctx context.Context, s subject, rev git.Rev, read func() (heads.Commit, error)) job {
	commit, err := read()
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
		recorded, err := f.Store.Publication(s.id(), repo.Ref(s.tags.Commit(rev.String())))
		if err != nil || recorded == nil {
			return false
		}
	}
	return true
}
