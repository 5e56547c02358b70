package factory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// publish checks the index, sends it to every place, has it verified there,
// and sets the tags: first all blobs and manifests everywhere, then the commit
// tags, then the moving tags. lacks are the systems that were left out.
func (f *Factory) publish(ctx context.Context, d *due, index v1.ImageIndex, lacks map[string]string, scratch string) error {
	if err := check.Index(index, scratch); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
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
	made := place{
		state:   plan.Published{Found: true, Digest: digest.String(), Rev: d.commit.Rev, Recipe: d.recipe},
		version: manifest.Annotations[image.ReleaseLabel],
		systems: image.SystemNames(manifest),
		lacks:   lacks,
		checked: f.Now(), // the push has asked for everything
	}
	if err := f.setTags(ctx, d, index, made); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// setTags sets the tags of an image that was pushed, and notes in each place
// that it is there. Where the commit's tag cannot be moved, the image that it
// leads to stays the one of the place.
func (f *Factory) setTags(ctx context.Context, d *due, index v1.ImageIndex, made place) error {
	stays := make([]bool, len(d.places))
	var err error
	for i := range d.places {
		p := &d.places[i]
		if stays[i], err = f.setTag(ctx, *d, p, index, d.commit.Rev); err != nil {
			return err
		}
	}
	if d.isHead {
		for _, tag := range d.channel.TagsFor(d.commit.Rev, d.commit.Date, made.version) {
			for i := range d.places {
				if stays[i] {
					continue
				}
				if _, err := f.setTag(ctx, *d, &d.places[i], index, tag); err != nil {
					return err
				}
			}
		}
	}
	for i := range d.places {
		p := &d.places[i]
		if stays[i] {
			if err := f.keep(ctx, p, d.commit.Rev); err != nil {
				return err
			}
			continue
		}
		p.state, p.version, p.systems, p.lacks, p.checked = made.state, made.version, made.systems, made.lacks, made.checked
		f.Log.Info("published", "channel", d.channel.Name, "image", p.image, "digest", p.state.Digest)
	}
	return nil
}

// keep reads the image that a commit's tag goes on to lead to.
func (f *Factory) keep(ctx context.Context, p *place, rev string) error {
	digest, err := p.repo.Digest(ctx, rev)
	if err != nil {
		return fmt.Errorf("%s: %w", p.image, err)
	}
	p.read(ctx, digest.String())
	p.lacks, p.checked, p.state.Kept = nil, time.Time{}, true
	return p.state.Err
}

// kept tells whether every place keeps what it has had.
func (d due) kept() bool {
	return !slices.ContainsFunc(d.places, func(p place) bool { return !p.state.Kept })
}

// mayTag looks again before tags are set, for a build takes its time: a channel
// that moved on meanwhile keeps its moving tags, and the tag that an outdated
// commit has is not written over.
//
// If the channel cannot be asked now, the image is not thrown away: it gets the
// tag of its commit where nothing else has that, and the moving tags are left to
// the next cycle, which knows whether the commit is still the head.
func (f *Factory) mayTag(ctx context.Context, d *due, digest v1.Hash) error {
	outdated := "the tag of an outdated commit never changes"
	if d.isHead {
		head, err := f.Heads.Head(ctx, d.channel.Name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.Log.Warn("it cannot be asked whether the commit is still the head: the moving tags are left to the next cycle",
				"channel", d.channel.Name, "rev", d.commit.Rev, "error", err)
			outdated = fmt.Sprintf("whether the commit is still the head cannot be asked (%v)", err)
		}
		d.isHead = err == nil && head.Rev == d.commit.Rev
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
			return fmt.Errorf("%s: it is %s now, and %s", p.image, got, outdated)
		}
	}
	return nil
}

// publications returns what to write down of a job that is settled.
func (d due) publications(at time.Time) []record.Publication {
	var list []record.Publication
	for _, p := range d.places {
		known := p.recorded != nil && p.recorded.Digest == p.state.Digest
		if !p.state.Found || p.state.Kept && known {
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
			Systems: p.systems,
			Lacks:   p.lacks,
			Checked: p.checked,
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
	err := b.Store.Record(b.publications(b.Now()), b.layersMade(), src)
	if err == nil {
		err = b.Store.Succeed(b.channel.Name, b.commit.Rev) // where all places keep what is on record
	}
	if err != nil {
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
