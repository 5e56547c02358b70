package factory

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// settle puts right what is not where it belongs although the image is up to
// date: tags that are gone or were moved, moving tags after a crash between two
// of them, and a record that was lost.
func (f *Factory) settle(ctx context.Context, d due) error {
	if d.job.Reason != plan.UpToDate {
		return nil
	}
	unrecorded := false
	for i := range d.places {
		p := &d.places[i]
		if err := f.settleTags(ctx, d, p); err != nil {
			return err
		}
		known := p.recorded != nil && p.recorded.Digest == p.state.Digest
		unrecorded = unrecorded || p.state.Found && !known
		if known && p.checked.After(p.recorded.Checked) {
			if err := f.Store.Check(d.channel.Name, p.image, p.state.Digest, p.checked); err != nil {
				return err
			}
		}
	}
	if unrecorded {
		return f.Store.Record(d.publications(f.Now()), nil, nil)
	}
	return f.Store.Succeed(d.channel.Name, d.commit.Rev)
}

func (f *Factory) settleTags(ctx context.Context, d due, p *place) error {
	if p.strayed != nil {
		if stays, err := f.putBack(ctx, d, p); err != nil || stays {
			return err
		}
	}
	if !d.isHead {
		return nil
	}
	for _, tag := range d.channel.TagsFor(d.commit.Rev, d.commit.Date, p.version) {
		if err := f.settleTag(ctx, d, p, tag); err != nil {
			return err
		}
	}
	return nil
}

// putBack makes the commit's tag point to the image on record again.
func (f *Factory) putBack(ctx context.Context, d due, p *place) (stays bool, err error) {
	if stays, err = f.refused(p, d.commit.Rev); err != nil || stays {
		return stays, err
	}
	f.Log.Warn("the commit's tag was gone or moved by somebody else, putting it back", "channel", d.channel.Name, "image", p.image, "digest", p.state.Digest)
	return f.setTag(ctx, d, p, p.strayed, d.commit.Rev)
}

// settleTag makes a moving tag point to the image that the place has.
func (f *Factory) settleTag(ctx context.Context, d due, p *place, tag string) error {
	strays, err := f.strays(ctx, p, tag)
	if err != nil || !strays {
		return err
	}
	index := p.strayed
	if index == nil {
		// By its digest: the commit's tag may have moved since it was asked for.
		if index, err = p.repo.Index(ctx, p.state.Digest); err != nil {
			return fmt.Errorf("%s: %w", p.image, err)
		}
	}
	if stays, err := f.setTag(ctx, d, p, index, tag); err != nil || stays {
		return err
	}
	f.Log.Info("tag moved", "channel", d.channel.Name, "image", p.repo.Ref(tag), "digest", p.state.Digest)
	return nil
}

// strays tells whether a tag does not point to the image that the place has,
// and may be moved there as far as is known.
func (f *Factory) strays(ctx context.Context, p *place, tag string) (bool, error) {
	got, err := p.repo.Digest(ctx, tag)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return false, fmt.Errorf("%s: %w", p.repo.Ref(tag), err)
	}
	if err == nil && got.String() == p.state.Digest {
		return false, nil
	}
	refused, err := f.refused(p, tag)
	return !refused, err
}

// refused tells whether the registry has refused to move a tag to the image that
// the place has.
func (f *Factory) refused(p *place, tag string) (bool, error) {
	kept, err := f.Store.Kept(p.repo.Ref(tag))
	return kept != nil && kept.Digest == p.state.Digest, err
}

// setTag makes a tag point to an index. A tag that the registry refuses to move
// stays where it is, which is noted, and told once.
func (f *Factory) setTag(ctx context.Context, d due, p *place, index v1.ImageIndex, tag string) (stays bool, err error) {
	ref := p.repo.Ref(tag)
	err = p.repo.Tag(ctx, index, tag)
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
	if before == nil || d.job.Reason == plan.Requested {
		f.Log.Warn("the registry does not let this tag be moved: what is there is kept, and this is not said again",
			"channel", d.channel.Name, "image", ref, "digest", immutable.Now.String(), "refused", immutable.Want.String(), "error", immutable.Err)
	}
	return true, f.Store.Keep(record.Kept{Image: ref, Digest: immutable.Want.String(), Recipe: d.recipe, Time: f.Now()})
}
