package factory

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// publish checks the index, sends it to every place, has it verified there,
// and sets the tags: first all blobs and manifests everywhere, then the commit
// tags, then the moving tags.
func (f *Factory) publish(ctx context.Context, d *due, index v1.ImageIndex, version, scratch string) error {
	if err := check.Index(index, scratch); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	for _, p := range d.places {
		pushing := f.Progress.Start(d.channel.Name+" pushing", 0)
		err := p.repo.Push(ctx, index)
		pushing.Done()
		if err != nil {
			return fmt.Errorf("publish: %s: %w", p.image, err)
		}
	}
	if err := f.verify(ctx, d.places[0].repo, digest); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := f.mayTag(ctx, d, digest); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	tags := []string{d.commit.Rev}
	if d.isHead {
		tags = append(tags, d.channel.TagsFor(d.commit.Rev, d.commit.Date, version)...)
	}
	for _, tag := range tags {
		for _, p := range d.places {
			if err := p.repo.Tag(ctx, index, tag); err != nil {
				return fmt.Errorf("publish: %s: %w", p.repo.Ref(tag), err)
			}
		}
	}
	for i := range d.places {
		p := &d.places[i]
		p.state = plan.Published{Found: true, Digest: digest.String(), Rev: d.commit.Rev, Recipe: d.recipe}
		p.version = version
		f.Log.Info("published", "channel", d.channel.Name, "image", p.image, "digest", digest.String())
	}
	return nil
}

// mayTag looks again before tags are set, for a build takes its time: a channel
// that moved on meanwhile keeps its moving tags, and the tag that an outdated
// commit has is not written over.
func (f *Factory) mayTag(ctx context.Context, d *due, digest v1.Hash) error {
	if d.isHead {
		head, err := f.Heads.Head(ctx, d.channel.Name)
		if err != nil {
			return fmt.Errorf("head: %w", err)
		}
		d.isHead = head.Rev == d.commit.Rev
	}
	if d.isHead {
		return nil
	}
	for _, p := range d.places {
		got, err := p.repo.Digest(ctx, d.commit.Rev)
		switch {
		case errors.Is(err, registry.ErrNotFound):
		case err != nil:
			return fmt.Errorf("%s: %w", p.image, err)
		case got != digest:
			return fmt.Errorf("%s: it is %s now, and the tag of an outdated commit never changes", p.image, got)
		}
	}
	return nil
}

// publications returns what to write down of a job that is settled.
func (d due) publications(at time.Time) []record.Publication {
	var list []record.Publication
	for _, p := range d.places {
		if !p.state.Found {
			continue
		}
		list = append(list, record.Publication{
			Channel: d.channel.Name,
			Rev:     p.state.Rev,
			Recipe:  p.state.Recipe,
			Image:   p.image,
			Digest:  p.state.Digest,
			Version: p.version,
			Time:    at,
			Systems: d.job.Systems,
			Action:  string(d.job.Action),
			Reason:  string(d.job.Reason),
		})
	}
	return list
}

// record writes down what was published, in one transaction.
func (b *build) record() error {
	src := &record.Source{
		Rev:       b.commit.Rev,
		Tree:      b.tree.TreeID,
		NarHash:   b.tree.NarHash,
		NarSize:   b.tree.NarSize,
		StorePath: b.sources[0].Path,
	}
	if len(b.sources) > 1 {
		src.SourcePath = b.sources[1].Path
	}
	if err := b.Store.Record(b.publications(b.Now()), b.layersMade(), src); err != nil {
		return fmt.Errorf("published, but not recorded: %w", err)
	}
	return nil
}

// layersMade returns the closure's and the source's layers for the record.
func (b *build) layersMade() []record.Layer {
	var list []record.Layer
	for _, l := range b.made {
		if l.Key == "" {
			continue
		}
		digest, _ := l.Digest() // of a finished layer: no errors
		diffID, _ := l.DiffID()
		size, _ := l.Size()
		media, _ := l.MediaType()
		list = append(list, record.Layer{Key: l.Key, Digest: digest.String(), DiffID: diffID.String(), Size: size, MediaType: string(media)})
	}
	return list
}
