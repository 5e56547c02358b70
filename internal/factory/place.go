package factory

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	systems  []string          // that the image is for
	lacks    map[string]string // store paths that systems which it is not for wait for
	checked  time.Time         // all that is below the digest was there
	lost     []v1.Hash         // what is gone below the digest

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
		p.remember()
		p.checked = p.recorded.Checked
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
		p.read(ctx, digest.String())
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
	p.remember()
	return true, nil
}

// remember takes what is on record of the image.
func (p *place) remember() {
	r := p.recorded
	p.state = plan.Published{Found: true, Digest: r.Digest, Rev: r.Rev, Recipe: r.Recipe}
	p.version, p.systems, p.lacks = r.Version, r.Systems, r.Lacks
}

// read reads what an index says of itself.
func (p *place) read(ctx context.Context, digest string) {
	index, err := p.repo.Index(ctx, digest)
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
		Digest: digest,
		Rev:    manifest.Annotations[image.RevisionLabel],
		Recipe: manifest.Annotations[image.RecipeLabel],
	}
	p.version = manifest.Annotations[image.ReleaseLabel]
	p.systems = image.SystemNames(manifest)
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

// lostBlobs are those that a registry is known to have lost.
func (d due) lostBlobs() []v1.Hash {
	var lost []v1.Hash
	for _, p := range d.places {
		lost = append(lost, p.lost...)
	}
	return lost
}
