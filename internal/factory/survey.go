package factory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

// due is a job and what was learned on the way to it.
type due struct {
	job     plan.Job
	channel config.Channel
	commit  heads.Commit
	since   time.Time // when the channel came to its head, for a head
	isHead  bool
	quiet   bool // nothing is due, and nobody needs to hear of it
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
		d, err := f.open(ch)
		if err != nil {
			return nil, err
		}
		group.Go(func() error {
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
	if d.channel.Frozen {
		d.job = plan.Make([]plan.Channel{{Name: d.channel.Name, Frozen: true}})[0]
		return []due{d}
	}
	known, err := f.Store.Head(d.channel.Name)
	if err != nil {
		return []due{d.failed(err)}
	}
	head, err := f.Heads.Head(ctx, d.channel.Name)
	var unknown *heads.UnknownChannelError
	switch {
	case errors.As(err, &unknown) && known != nil:
		// It was there once, so it is no mistake in the configuration:
		// upstream has taken an old branch away.
		d.job = plan.Make([]plan.Channel{{Name: d.channel.Name, Frozen: true, Head: *known}})[0]
		return []due{d}
	case err != nil:
		return []due{d.failed(fmt.Errorf("head: %w", err))}
	}
	head.Since = f.since(ctx, head, known)
	if err := f.Store.SetHead(head); err != nil {
		return []due{d.failed(err)}
	}
	d.commit, d.since, d.isHead = head.Commit, head.Since, true
	asked := f.ask(ctx, &d)
	asked.Waiting = f.waiting(head.Channel, head.Rev)
	d.job = plan.Make([]plan.Channel{asked})[0]
	return append([]due{d}, f.passed(ctx, d)...)
}

// since finds out when a channel came to its head: that costs a request when the
// head is new. Where upstream does not say, it is when the head was first seen.
func (f *Factory) since(ctx context.Context, head heads.Head, known *heads.Head) time.Time {
	if known != nil && known.Rev == head.Rev && !known.Since.IsZero() {
		return known.Since
	}
	moves, err := f.Heads.Moves(ctx, head.Channel, 1)
	if err != nil || len(moves) == 0 || moves[0].Rev != head.Rev {
		return f.Now()
	}
	return moves[0].Time
}

// failed makes a job of the error that keeps the channel from being looked at.
func (d due) failed(err error) due {
	d.job = plan.Make([]plan.Channel{{Name: d.channel.Name, HeadErr: err}})[0]
	return d
}

// waiting tells whether the last try to publish a commit failed and the next one
// is not due. A daemon keeps to that; whoever runs a single cycle wants it
// tried.
func (f *Factory) waiting(channel, rev string) bool {
	if !f.Patient {
		return false
	}
	failure, err := f.Store.Failure(channel)
	return err == nil && failure != nil && failure.Rev == rev && f.Now().Before(failure.Next)
}

// passed returns the jobs for commits that the channel has passed, newest
// first. Those on record cost no request.
func (f *Factory) passed(ctx context.Context, d due) []due {
	n := f.Config.BackfillOf(d.channel)
	if n == 0 {
		return nil
	}
	moves, err := f.Heads.Moves(ctx, d.channel.Name, n+1)
	if err != nil {
		return []due{d.failed(fmt.Errorf("backfill: %w", err))}
	}
	var jobs []due
	for _, move := range moves {
		if len(jobs) == n {
			break
		}
		if move.Rev == d.commit.Rev || f.onRecord(d, move.Rev) || f.waiting(d.channel.Name, move.Rev) {
			continue
		}
		fill := due{channel: d.channel, recipe: d.recipe, places: unasked(d.places)}
		fill.commit, err = f.Heads.Commit(ctx, move.Rev)
		if err != nil {
			jobs = append(jobs, d.failed(fmt.Errorf("backfill: %w", err)))
			continue
		}
		fill.job = plan.Fill(f.ask(ctx, &fill))
		fill.quiet = fill.job.Action == plan.None && fill.job.Err == nil
		jobs = append(jobs, fill)
	}
	return jobs
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

// open prepares what a channel needs that depends on no commit.
func (f *Factory) open(ch config.Channel) (due, error) {
	d := due{channel: ch}
	var err error
	if d.recipe, err = f.Recipe(ch); err != nil {
		return due{}, fmt.Errorf("recipe: %w", err)
	}
	for _, dest := range f.Config.Publish {
		repo, err := f.Repository(dest, ch.Name)
		if err != nil {
			return due{}, fmt.Errorf("publish to %s: %w", dest.To, err)
		}
		d.places = append(d.places, place{repo: repo})
	}
	return d, nil
}

// Recipe returns the recipe that a channel's images are made by.
func (f *Factory) Recipe(ch config.Channel) (string, error) {
	return recipe.Digest(f.Config.Image, recipe.Settings{
		Systems:     systemNames(f.Config.SystemsOf(ch)),
		Optional:    systemNames(ch.Optional),
		SourceNames: f.Config.Source.Names,
		Labels:      f.Config.Labels,
		Repository:  f.Config.Upstream.Repository,
		Keys:        f.keys(),
		Encoding:    f.encoding().Identity(),
		Database:    nixdb.Identity,
	})
}

// keys are the trusted keys: whose signatures are in an image's database depends
// on them.
func (f *Factory) keys() []string {
	var keys []string
	for _, s := range f.Config.Substituters {
		for _, k := range s.Keys {
			keys = append(keys, k.String())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (f *Factory) encoding() layers.Encoding { return layers.Encoding(f.Config.Compression) }

func systemNames(systems []config.System) []string {
	names := make([]string, len(systems))
	for i, s := range systems {
		names[i] = s.Nix
	}
	return names
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
		asked.Images = append(asked.Images, p.image)
		asked.Published = append(asked.Published, p.state)
		if asked.Recorded == nil {
			asked.Recorded = p.recorded
		}
	}
	return asked
}

// UnknownChannelError names a channel that the configuration does not have.
type UnknownChannelError struct {
	Channel string
	Known   []string
}

func (e *UnknownChannelError) Error() string {
	return fmt.Sprintf("channel %q is not in the configuration (it has %v)", e.Channel, e.Known)
}

// Channel returns a channel of the configuration by its name, or an
// *UnknownChannelError.
func (f *Factory) Channel(name string) (config.Channel, error) {
	var known []string
	for _, ch := range f.Config.Channels {
		if ch.Name == name {
			return ch, nil
		}
		known = append(known, ch.Name)
	}
	return config.Channel{}, &UnknownChannelError{name, known}
}

// requested makes the job that a user asks for by hand.
func (f *Factory) requested(ctx context.Context, channel, rev string) (due, error) {
	d, err := f.at(ctx, channel, rev)
	if err != nil {
		return due{}, err
	}
	asked := f.ask(ctx, &d)
	d.job = plan.Request(asked, d.isHead)
	return d, nil
}

// at prepares the job for a commit of a channel, its head if rev is empty.
func (f *Factory) at(ctx context.Context, channel, rev string) (due, error) {
	ch, err := f.Channel(channel)
	if err != nil {
		return due{}, err
	}
	d, err := f.open(ch)
	if err != nil {
		return due{}, err
	}
	head, err := f.Heads.Head(ctx, channel)
	if err != nil {
		return due{}, fmt.Errorf("head: %w", err)
	}
	d.commit = head.Commit
	if rev != "" && rev != head.Rev {
		if d.commit, err = f.Heads.Commit(ctx, rev); err != nil {
			return due{}, err
		}
	}
	d.isHead = d.commit.Rev == head.Rev
	return d, nil
}
