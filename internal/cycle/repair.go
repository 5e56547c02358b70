package cycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// repairTags puts right what is not where it belongs although the image is up to
// date: tags that are gone or were moved, moving tags after a crash between two
// of them, and a record that was lost.
func (f *Factory) repairTags(ctx context.Context, j job) error {
	if j.plan.Reason != plan.UpToDate {
		return nil
	}
	unrecorded := false
	for _, t := range j.targets {
		if err := f.repairTarget(ctx, j, t); err != nil {
			return err
		}
		known := t.recorded != nil && t.recorded.Digest == t.state.Digest
		unrecorded = unrecorded || t.state.Found && !known
		if known && t.checked.After(t.recorded.Checked) {
			if err := f.Store.Check(j.id(), t.ref, t.state.Digest, t.checked); err != nil {
				return err
			}
		}
	}
	if unrecorded {
		return f.Store.Record(publications(j, j.targets, record.Moved{}, f.Now()))
	}
	return f.Store.Succeed(j.id(), j.commit.Rev)
}

func (f *Factory) repairTarget(ctx context.Context, j job, t target) error {
	if t.astray {
		if stays, err := f.putBack(ctx, j, t); err != nil || stays {
			return err
		}
	}
	if !j.isHead {
		return nil
	}
	for _, tag := range j.tagsFor(t.version, t.state.Digest.Hex) {
		if tag == t.tag {
			continue
		}
		if err := f.moveTag(ctx, j, t, tag); err != nil {
			return err
		}
	}
	return nil
}

// putBack makes the tag of a target point to the image on record again.
func (f *Factory) putBack(ctx context.Context, j job, t target) (stays bool, err error) {
	if stays, err = f.refused(t, t.tag); err != nil || stays {
		return stays, err
	}
	f.logOf(j.channel.Name, j.image.Name()).Warn("the commit's tag was gone or moved by somebody else, putting it back", "image", t.ref, "digest", t.state.Digest)
	index, err := t.index(ctx)
	if err != nil {
		return false, err
	}
	return f.setTag(ctx, j, t, index, t.tag)
}

// moveTag makes a moving tag point to the image that the target has.
func (f *Factory) moveTag(ctx context.Context, j job, t target, tag string) error {
	strays, err := f.strays(ctx, t, tag)
	if err != nil || !strays {
		return err
	}
	if err := f.whole(ctx, j, t); err != nil {
		return fmt.Errorf("%s: %w", t.repo.Ref(tag), err)
	}
	index, err := t.index(ctx)
	if err != nil {
		return err
	}
	if stays, err := f.setTag(ctx, j, t, index, tag); err != nil || stays {
		return err
	}
	f.logOf(j.channel.Name, j.image.Name()).Info("tag moved", "image", t.repo.Ref(tag), "digest", t.state.Digest)
	return nil
}

// whole asks for what is below the image before another tag leads to it. What is
// lost is left to the next cycle, which makes the image again.
func (f *Factory) whole(ctx context.Context, j job, t target) error {
	lost, err := t.repo.Missing(ctx, t.state.Digest)
	if err != nil || len(lost) == 0 {
		return err
	}
	if err := f.Store.Check(j.id(), t.ref, t.state.Digest, time.Time{}); err != nil {
		return err
	}
	return fmt.Errorf("not set, for the registry has lost a part of the image: %s", lost[0])
}

// index opens the image that the target has. By its digest: the commit's tag may
// have moved since it was asked for.
func (t target) index(ctx context.Context) (v1.ImageIndex, error) {
	index, err := t.repo.Index(ctx, t.state.Digest.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.ref, err)
	}
	return index, nil
}

// strays tells whether a tag does not point to the image that the target has,
// and may be moved there as far as is known.
func (f *Factory) strays(ctx context.Context, t target, tag string) (bool, error) {
	got, err := t.repo.Digest(ctx, tag)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return false, fmt.Errorf("%s: %w", t.repo.Ref(tag), err)
	}
	if err == nil && got == t.state.Digest {
		return false, nil
	}
	refused, err := f.refused(t, tag)
	return !refused, err
}

// askAgain is how long a registry's refusal to move a tag holds: rules change,
// and what sounded like one may have been something that passes.
const askAgain = 7 * 24 * time.Hour

// refused tells whether the registry has refused to move a tag to the image that
// the target has.
func (f *Factory) refused(t target, tag string) (bool, error) {
	kept, err := f.Store.Kept(t.repo.Ref(tag))
	return kept != nil && kept.Digest == t.state.Digest && f.Now().Sub(kept.Time) < askAgain, err
}

// setTag makes a tag point to an index. A tag that the registry refuses to move
// stays where it is, which is noted, and told once.
func (f *Factory) setTag(ctx context.Context, j job, t target, index v1.ImageIndex, tag string) (stays bool, err error) {
	ref := t.repo.Ref(tag)
	err = t.repo.Tag(ctx, index, tag)
	var immutable *registry.ImmutableTagError
	if !errors.As(err, &immutable) {
		if err != nil {
			err = fmt.Errorf("%s: %w", ref, err)
		}
		return false, err
	}
	before, err := f.Store.Kept(ref)
	if err != nil {
		return false, err
	}
	if before == nil || j.plan.Reason == plan.Requested {
		f.logOf(j.channel.Name, j.image.Name()).Warn("the registry does not let this tag be moved: what it leads to stays, and this is said only once",
			"image", ref, "digest", immutable.Now.String(), "refused", immutable.Want.String(), "error", immutable.Err)
	}
	return true, f.Store.Keep(record.Kept{Image: ref, Digest: immutable.Want, Recipe: j.recipe, Time: f.Now()})
}
