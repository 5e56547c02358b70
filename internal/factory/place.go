package factory

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// place is a commit's image in one destination.
type place struct {
	repo     registry.Repository
	image    string // repository and commit tag
	state    plan.Published
	version  string // of nixpkgs, where an image that is there says it
	recorded *record.Publication

	// strayed is the image on record whose tag is gone, or was moved by
	// somebody else, while the image itself is still there.
	strayed v1.ImageIndex
}

// look asks one repository for the commit's tag. If the digest is the one on
// record, the record knows the recipe and the manifest need not be fetched.
func (f *Factory) look(ctx context.Context, p *place, d *due) {
	rev := d.commit.Rev
	p.image = p.repo.Ref(rev)
	var err error
	if p.recorded, err = f.Store.Publication(d.channel.Name, p.image); err != nil {
		p.state.Err = err
		return
	}
	digest, err := p.repo.Digest(ctx, rev)
	absent := errors.Is(err, registry.ErrNotFound)
	switch {
	case err != nil && !absent:
		p.state.Err = fmt.Errorf("%s: %w", p.image, err)
		return
	case !absent && p.recorded != nil && p.recorded.Digest == digest.String():
		p.state = plan.Published{Found: true, Digest: p.recorded.Digest, Rev: p.recorded.Rev, Recipe: p.recorded.Recipe}
		p.version = p.recorded.Version
		return
	case d.isHead && p.recorded != nil && p.recorded.Recipe == d.recipe:
		found, err := f.findStrayed(ctx, p)
		if err != nil {
			p.state.Err = fmt.Errorf("%s: %w", p.image, err)
		}
		if found || err != nil {
			return
		}
	}
	if !absent {
		p.read(ctx, rev)
	}
}

// findStrayed looks for the image on record by its digest.
func (f *Factory) findStrayed(ctx context.Context, p *place) (bool, error) {
	index, err := p.repo.Index(ctx, p.recorded.Digest)
	if errors.Is(err, registry.ErrNotFound) {
		return false, nil // it has to be made again
	}
	if err != nil {
		return false, err
	}
	p.strayed = index
	p.state = plan.Published{Found: true, Digest: p.recorded.Digest, Rev: p.recorded.Rev, Recipe: p.recorded.Recipe}
	p.version = p.recorded.Version
	return true, nil
}

// read reads what the index under a tag says of itself.
func (p *place) read(ctx context.Context, tag string) {
	index, err := p.repo.Index(ctx, tag)
	if err != nil {
		p.state.Err = fmt.Errorf("%s: %w", p.image, err)
		return
	}
	digest, err := index.Digest()
	if err != nil {
		p.state.Err = fmt.Errorf("%s: %w", p.image, err)
		return
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		p.state.Err = fmt.Errorf("%s: %w", p.image, err)
		return
	}
	p.state = plan.Published{
		Found:  true,
		Digest: digest.String(),
		Rev:    manifest.Annotations[image.RevisionLabel],
		Recipe: manifest.Annotations[image.RecipeLabel],
	}
	p.version = manifest.Annotations[image.ReleaseLabel]
}

// published lists what is there.
func (d due) published() []Published {
	list := []Published{}
	for _, p := range d.places {
		if p.state.Found {
			list = append(list, Published{Image: p.image, Digest: p.state.Digest})
		}
	}
	return list
}

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
		unrecorded = unrecorded || p.state.Found && (p.recorded == nil || p.recorded.Digest != p.state.Digest)
	}
	if unrecorded {
		return f.Store.Record(d.publications(f.Now()), nil, nil)
	}
	return f.Store.Succeed(d.channel.Name, d.commit.Rev)
}

func (f *Factory) settleTags(ctx context.Context, d due, p *place) error {
	index := p.strayed
	if index != nil {
		f.Log.Warn("the commit's tag was gone or moved by somebody else, putting it back", "channel", d.channel.Name, "image", p.image, "digest", p.state.Digest)
		if err := p.repo.Tag(ctx, index, d.commit.Rev); err != nil {
			return fmt.Errorf("%s: %w", p.image, err)
		}
	}
	if !d.isHead {
		return nil
	}
	for _, tag := range d.channel.TagsFor(d.commit.Rev, d.commit.Date, p.version) {
		got, err := p.repo.Digest(ctx, tag)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return fmt.Errorf("%s: %w", p.repo.Ref(tag), err)
		}
		if err == nil && got.String() == p.state.Digest {
			continue
		}
		if index == nil {
			if index, err = p.repo.Index(ctx, d.commit.Rev); err != nil {
				return fmt.Errorf("%s: %w", p.image, err)
			}
		}
		if err := p.repo.Tag(ctx, index, tag); err != nil {
			return fmt.Errorf("%s: %w", p.repo.Ref(tag), err)
		}
		f.Log.Info("tag moved", "channel", d.channel.Name, "image", p.repo.Ref(tag), "digest", p.state.Digest)
	}
	return nil
}
