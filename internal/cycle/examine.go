package cycle

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// recheck is how long what is below the image of a head counts as there without
// being asked for. Registries' clean-ups take children and blobs of images and
// leave their tags, and asking costs a request for each blob.
const recheck = 24 * time.Hour

// examine finds out whether the image of a head, or one that somebody asks for
// by hand, can be pulled if the present recipe made it, and whether it could
// have more systems by now.
func (f *Factory) examine(ctx context.Context, r revision, t target) target {
	if t.state.Err != nil || !t.state.Found {
		return t
	}
	kept, err := f.Store.Kept(t.ref)
	if err != nil {
		t.state.Err = err
		return t
	}
	t.state.Kept = kept != nil && kept.Recipe == r.recipe && kept.Digest != t.state.Digest
	if t.state.Recipe != r.recipe && !t.state.Kept {
		return t // it is made anew
	}
	if r.byHand || f.Now().Sub(t.checked) >= recheck {
		if t = f.lookBelow(ctx, t); t.state.Err != nil {
			return t
		}
	}
	t.state.Arrived = !t.state.Kept && r.isHead && f.arrived(ctx, r, t)
	return t
}

// lookBelow asks for all that the image consists of. An image that is kept for
// its tag's sake cannot be made again: the recipe is another one by now.
func (f *Factory) lookBelow(ctx context.Context, t target) target {
	lost, err := t.repo.Missing(ctx, t.state.Digest)
	switch {
	case err != nil:
		t.state.Err = fmt.Errorf("%s: %w", t.ref, err)
	case len(lost) == 0:
		t.checked = f.Now()
	case t.state.Kept:
		t.state.Err = fmt.Errorf("%s: it cannot be pulled, for the registry has lost a part of it (%s), and its tag cannot be moved to another image: delete it in the registry, then it is made again", t.ref, lost[0])
	default:
		t.lost, t.state.Incomplete = lost, true
		f.Log.Warn("the image cannot be pulled: the registry has lost a part of it", "image", t.ref, "lost", len(lost), "first", lost[0].String())
	}
	return t
}

// arrived tells whether a system that the image was made without may be had
// now. What its image waits for is on record and costs a question; where it is
// not, the image is made again to find out, a day after it was first seen.
func (f *Factory) arrived(ctx context.Context, r revision, t target) bool {
	for _, system := range r.channel.Optional {
		if slices.Contains(t.systems, system) {
			continue
		}
		path, known := t.lacks[system]
		if !known {
			if t.recorded != nil && t.recorded.Digest == t.state.Digest && f.Now().Sub(t.recorded.Time) >= recheck {
				return true
			}
			continue
		}
		if _, err := f.Cache.Info(ctx, path.StorePath); err == nil {
			return true
		}
	}
	return false
}
