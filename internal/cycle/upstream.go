package cycle

import (
	"context"
	"fmt"
	"time"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

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

// gone makes the job of a channel that upstream says it does not have, though it
// had it once. Only if the list of branches lacks it, too, is its life over.
func (f *Factory) gone(ctx context.Context, r revision, known heads.Head, cause error) job {
	gone, err := f.Heads.Gone(ctx, r.channel.Name)
	switch {
	case err != nil:
		return r.failed(git.Rev{}, fmt.Errorf("head: %w; %w", cause, err))
	case !gone:
		return r.failed(git.Rev{}, fmt.Errorf("head: %w, but the list of branches has it", cause))
	}
	since, err := f.Store.SetGone(r.channel.Name, f.Now())
	if err != nil {
		return r.failed(git.Rev{}, err)
	}
	f.Log.Warn("upstream has no such branch any more: nothing of the channel changes. Say frozen: true if its life is over",
		"channel", r.channel.Name, "since", since)
	return job{revision: r, plan: plan.Make([]plan.Channel{{Name: r.channel.Name, Frozen: true, Gone: true, Head: known}})[0]}
}

// begun is the year in which nixpkgs had its first commit.
var begun = time.Date(2003, time.January, 1, 0, 0, 0, 0, time.UTC)

// plausible refuses a commit with a date that cannot be its own. Images carry
// it, and tags are made of it.
func plausible(c heads.Commit, now time.Time) error {
	if c.Date.Before(begun) || c.Date.After(now.Add(24*time.Hour)) {
		return fmt.Errorf("commit %s: its date is %s, which is %s", c.Rev, c.Date.UTC().Format(time.RFC3339), when(c.Date, now))
	}
	return nil
}

func when(date, now time.Time) string {
	if date.After(now) {
		return "in the future"
	}
	return "before nixpkgs existed"
}
