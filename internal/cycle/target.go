package cycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// target is where a revision's image goes in one destination, and what is there.
type target struct {
	repo     registry.Repository
	tag      string // by which the image is known: that of the commit
	ref      string // repository and tag
	plain    bool   // the image does not depend on the commit, nor does the tag
	recorded *record.Publication
	held
	lost []v1.Hash // what is gone below the digest

	// astray says that the tag of the image on record is gone, or was moved by
	// somebody else, while the image itself is still there.
	astray bool
}

// held is the image that a target has.
type held struct {
	state   plan.Published
	version string          // of nixpkgs, where the image says it
	systems []config.System // that the image is for
	checked time.Time       // all that is below the digest was there
	unsaid
}

// unsaid is what an image does not say of itself, and only the record knows.
type unsaid struct {
	lacks lacking // store paths that systems which it is not for wait for
	nix   string  // version of the Nix that evaluated: the image would be the same by another
}

// resolve asks each destination for the image of a revision.
func (f *Factory) resolve(ctx context.Context, r revision) ([]target, plan.Channel) {
	known := plan.Channel{
		Name:      r.channel.Name,
		ImageName: r.image.Name(),
		Head:      heads.Head{Channel: r.channel.Name, Commit: r.commit},
		Recipe:    r.recipe,
		Systems:   f.Config.SystemsOf(r.channel),
	}
	var targets []target
	for _, repo := range r.repositories {
		t := f.target(ctx, r, repo)
		if r.isHead || r.byHand {
			t = f.examine(ctx, r, t)
		}
		targets = append(targets, t)
		known.Images = append(known.Images, t.ref)
		known.Published = append(known.Published, t.state)
		if known.Recorded == nil {
			known.Recorded = t.recorded
		}
	}
	return targets, known
}

// target asks one repository for the image of a revision.
func (f *Factory) target(ctx context.Context, r revision, repo registry.Repository) target {
	t, err := f.known(r, repo)
	if err != nil {
		t.state.Err = err
		return t
	}
	if t.plain && t.recorded.Rev != r.commit.Rev {
		return t // which image this commit would have, only evaluation tells
	}
	if t.held, t.astray, err = holds(ctx, r, t); err != nil {
		t.state.Err = fmt.Errorf("%s: %w", t.ref, err)
	}
	return t
}

// known is what the record knows of the image of a revision in a repository. An
// image that was plain is taken for one still, unless the commit has another.
func (f *Factory) known(r revision, repo registry.Repository) (t target, err error) {
	t = at(repo, r.commitTag(), false)
	if t.recorded, err = f.Store.Publication(r.id(), t.ref); err != nil {
		return t, err
	}
	tag := r.tags.Fixed()
	if tag == "" {
		return t, nil
	}
	plain := at(repo, tag, true)
	plain.recorded, err = f.Store.Publication(r.id(), plain.ref)
	if err != nil || plain.recorded != nil && plain.recorded.Plain && (t.recorded == nil || plain.recorded.Recipe == r.recipe) {
		return plain, err
	}
	return t, nil
}

// at is the target at a tag, of which nothing is known.
func at(repo registry.Repository, tag string, plain bool) target {
	return target{repo: repo, tag: tag, ref: repo.Ref(tag), plain: plain}
}

// holds finds out which image a repository has under a target's tag. If the digest
// is the one on record, the record knows the recipe and the manifest need not be
// fetched.
func holds(ctx context.Context, r revision, t target) (h held, astray bool, err error) {
	repo, recorded := t.repo, t.recorded
	digest, err := repo.Digest(ctx, t.tag)
	absent := errors.Is(err, registry.ErrNotFound)
	switch {
	case err != nil && !absent:
		return held{}, false, err
	case !absent && recorded != nil && recorded.Digest == digest:
		h = remembered(recorded)
		h.checked = recorded.Checked
		return h, false, nil
	case r.isHead && recorded != nil && recorded.Recipe == r.recipe:
		_, err := repo.Index(ctx, recorded.Digest.String())
		if err == nil {
			return remembered(recorded), true, nil
		}
		if !errors.Is(err, registry.ErrNotFound) {
			return held{}, false, err
		}
		// It has to be made again.
	}
	if absent {
		return held{}, false, nil
	}
	h, err = readHeld(ctx, repo, digest)
	return h, false, err
}

// remembered is what is on record of an image.
func remembered(r *record.Publication) held {
	return held{
		state:   plan.Published{Found: true, Digest: r.Digest, Rev: r.Rev, Recipe: r.Recipe},
		version: r.Version, systems: r.Systems, unsaid: unsaid{r.Lacks, r.Nix},
	}
}

// readHeld reads what an index says of itself.
func readHeld(ctx context.Context, repo registry.Repository, digest v1.Hash) (held, error) {
	index, err := repo.Index(ctx, digest.String())
	if err != nil {
		return held{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return held{}, err
	}
	madeBy := recipe.ID(manifest.Annotations[image.RecipeLabel])
	rev, err := git.ParseRev(manifest.Annotations[image.RevisionLabel])
	if err != nil && !image.WithoutNixpkgs(manifest) {
		madeBy = "" // an image with nixpkgs that does not say its commit is not ours, whatever it says
	}
	return held{
		state: plan.Published{
			Found:  true,
			Digest: digest,
			Rev:    rev,
			Recipe: madeBy,
		},
		version: image.VersionOf(manifest.Annotations),
		systems: image.Systems(manifest),
	}, nil
}

// published lists what is there.
func published(targets []target) []Published {
	list := []Published{}
	for _, t := range targets {
		if t.state.Found {
			list = append(list, Published{Image: t.ref, Digest: t.state.Digest})
		}
	}
	return list
}

// allKept tells whether every target keeps what it has had.
func allKept(targets []target) bool {
	return !slices.ContainsFunc(targets, func(t target) bool { return !t.state.Kept })
}

// lostBlobs are those that a registry is known to have lost.
func lostBlobs(targets []target) []v1.Hash {
	var lost []v1.Hash
	for _, t := range targets {
		lost = append(lost, t.lost...)
	}
	return lost
}
