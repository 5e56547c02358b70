package cycle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// publish checks the index, sends it to every target, has it verified there, has attest
// put beside it what is to be said of it, and sets the tags: first all blobs and
// manifests everywhere, then the commit tags, then the moving tags. What the targets
// have afterwards is returned, also after an error.
func (f *Factory) publish(ctx context.Context, j job, index v1.ImageIndex, not unsaid, scratch string, attest func(job) error) ([]target, error) {
	if err := check.Index(index, scratch); err != nil {
		return j.targets, fmt.Errorf("check: %w", err)
	}
	digest, err := index.Digest()
	if err != nil {
		return j.targets, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return j.targets, err
	}
	if j, err = j.aim(image.WithoutNixpkgs(manifest)); err != nil {
		return j.targets, err
	}
	if err := f.push(ctx, j, index); err != nil {
		return j.targets, err
	}
	if err := f.verify(ctx, j.targets[0].repo, digest); err != nil {
		return j.targets, fmt.Errorf("verify: %w", err)
	}
	if err := attest(j); err != nil {
		return j.targets, fmt.Errorf("attest: %w", err)
	}
	isHead, err := f.mayTag(ctx, j, digest)
	if err != nil {
		return j.targets, fmt.Errorf("publish: %w", err)
	}
	made := held{
		state:   plan.Published{Found: true, Digest: digest, Rev: j.commit.Rev, Recipe: j.recipe},
		version: image.VersionOf(manifest.Annotations),
		systems: image.Systems(manifest),
		unsaid:  not,
		checked: f.Now(), // the push has asked for everything
	}
	var moving []string
	if isHead {
		moving = j.tagsFor(made.version, digest.Hex)
	} else if !j.depends() {
		f.logOf(j.channel.Name, j.image.Name()).Info("not tagged, for the channel has moved on", "rev", j.commit.Rev)
		return j.targets, nil
	}
	targets, err := f.setTags(ctx, j, index, made, moving)
	if err != nil {
		return targets, fmt.Errorf("publish: %w", err)
	}
	return targets, f.noteContents(index)
}

// noteContents writes down what is in an image that was published.
func (f *Factory) noteContents(index v1.ImageIndex) error {
	contents, err := image.ReadContents(index)
	if err == nil {
		err = f.Store.SetContents(contents)
	}
	if err != nil {
		return fmt.Errorf("published, but not recorded: %w", err)
	}
	return nil
}

// push sends the index to every target, under its digest only.
func (f *Factory) push(ctx context.Context, j job, index v1.ImageIndex) error {
	for _, t := range j.targets {
		pushing := f.Progress.Start(j.label+" pushing", 0)
		err := t.repo.Push(ctx, index, j.sent...)
		pushing.Done()
		if err != nil {
			return fmt.Errorf("publish: %s: %w", t.ref, err)
		}
	}
	return nil
}

// setTags sets the tags of an image that was pushed, and returns what each target
// has then. Where the commit's tag cannot be moved, the image that it leads to
// stays the one of the target.
func (f *Factory) setTags(ctx context.Context, j job, index v1.ImageIndex, made held, moving []string) ([]target, error) {
	targets := slices.Clone(j.targets)
	stays := make([]bool, len(targets))
	var err error
	for i, t := range targets {
		if stays[i], err = f.setTag(ctx, j, t, index, t.tag); err != nil {
			return targets, err
		}
	}
	for _, tag := range moving {
		for i, t := range targets {
			if stays[i] || tag == t.tag {
				continue
			}
			if _, err := f.setTag(ctx, j, t, index, tag); err != nil {
				return targets, err
			}
		}
	}
	for i, t := range targets {
		if !stays[i] {
			targets[i].held = made
			f.logOf(j.channel.Name, j.image.Name()).Info("published", "image", t.ref, "digest", made.state.Digest)
			continue
		}
		if targets[i].held, err = keep(ctx, t); err != nil {
			return targets, err
		}
	}
	return targets, nil
}

// keep reads the image that a target's tag goes on to lead to.
func keep(ctx context.Context, t target) (held, error) {
	digest, err := t.repo.Digest(ctx, t.tag)
	if err != nil {
		return t.held, fmt.Errorf("%s: %w", t.ref, err)
	}
	kept, err := readHeld(ctx, t.repo, digest)
	if err != nil {
		return t.held, fmt.Errorf("%s: %w", t.ref, err)
	}
	kept.state.Kept = true
	return kept, nil
}

// mayTag looks again before tags are set, for a build takes its time: a channel
// that moved on meanwhile keeps its moving tags, and the tag that an outdated
// commit has is not written over.
//
// If the channel cannot be asked now, the image is not thrown away: it gets the
// tag of its commit where nothing else has that, and the moving tags are left to
// the next cycle, which knows whether the commit is still the head.
func (f *Factory) mayTag(ctx context.Context, j job, digest v1.Hash) (isHead bool, err error) {
	outdated := "the tag of an outdated commit never changes"
	if j.isHead {
		head, err := f.Heads.Head(ctx, j.channel.Name)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil && head.Rev == j.commit.Rev {
			return true, nil
		}
		if err != nil {
			f.logOf(j.channel.Name, j.image.Name()).Warn("GitHub cannot be asked whether the commit is still the head: the moving tags are left to the next cycle",
				"rev", j.commit.Rev, "error", err)
			outdated = fmt.Sprintf("GitHub cannot be asked whether the commit is still the head (%v)", err)
		}
	}
	if !j.depends() {
		return false, nil // it gets no tag
	}
	for _, t := range j.targets {
		got, err := t.repo.Digest(ctx, t.tag)
		switch {
		case errors.Is(err, registry.ErrNotFound):
		case err != nil:
			return false, fmt.Errorf("%s: %w", t.ref, err)
		case got != digest:
			return false, fmt.Errorf("%s: it is %s now, and %s", t.ref, got, outdated)
		}
	}
	return false, nil
}
