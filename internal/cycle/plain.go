package cycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// An image without nixpkgs is plain: it is the same for all commits that have the
// same tools. No commit is its tag, so it is known by the first of its tags that is
// no template, and only the head's is ever made. Whether an image is plain, its
// folder says when it is evaluated, and the record from then on.

// depends is false of a job whose image is known to be plain, and of one of which
// nothing is known.
func (j job) depends() bool {
	return len(j.targets) > 0 && !slices.ContainsFunc(j.targets, func(t target) bool { return t.plain })
}

// saysPlain is how image.nix says that there is no nixpkgs in the image.
var saysPlain = regexp.MustCompile(`(?m)^[^#\n]*\bnixpkgs\s*=\s*false\s*;`)

// presume returns the job as it is likely to turn out, for a plan: before an image is
// evaluated for the first time, its text is all there is to tell whether it is plain.
func (j job) presume() job {
	if slices.ContainsFunc(j.targets, func(t target) bool { return t.plain || t.recorded != nil || t.state.Found }) {
		return j
	}
	text, err := smallfile.Read(filepath.Join(j.image.Folder, "image.nix"), maxImageFile)
	if err != nil || !saysPlain.Match(text) {
		return j
	}
	plain, err := j.aim(true)
	if err != nil {
		return j // building it says why
	}
	plain.plan.Images = make([]string, len(plain.targets))
	for i, t := range plain.targets {
		plain.plan.Images[i] = t.ref
	}
	return plain
}

// maxImageFile bounds what is read of an image.nix.
const maxImageFile = 1 << 20

// aim returns a job with targets for what its image has turned out to be.
func (j job) aim(plain bool) (job, error) {
	tag := j.commitTag()
	if plain {
		tag = j.tags.Fixed()
	}
	if tag == "" {
		return j, errors.New("the image has no nixpkgs in it, so that the commit is no tag of it: give it, or the channel, a tag that is no template, such as latest")
	}
	j.targets = slices.Clone(j.targets)
	for i, t := range j.targets {
		if t.plain != plain {
			j.targets[i] = at(t.repo, tag, plain)
		}
	}
	return j, nil
}

// settle ends the way of a plain image that need not be made: none but the head's is,
// nor one that is there already. Its tags move, and the record.
func (f *Factory) settle(ctx context.Context, j job, sets []evaluated) (outcome, error) {
	switch {
	case sets[0].set.HasNixpkgs() || j.plan.Reason == plan.Requested && j.isHead:
		return outcome{targets: j.targets}, nil
	case j.byHand && !j.isHead:
		return outcome{targets: j.targets}, fmt.Errorf("%s is not the head of %s, and the image has no nixpkgs in it: no tag would lead to it", j.commit.Rev, j.channel.Name)
	case !j.isHead:
		return outcome{targets: j.targets, unchanged: true}, nil
	}
	return f.leave(ctx, j, func(_ v1.Hash, m *v1.IndexManifest) bool { return says(m, j.recipe, sets) })
}

// settleJoined does that for an index that was joined: it is the image that is there,
// or another one.
func (f *Factory) settleJoined(ctx context.Context, j job, index v1.ImageIndex) (outcome, error) {
	made := outcome{targets: j.targets}
	manifest, err := index.IndexManifest()
	if err != nil || !j.isHead || !image.WithoutNixpkgs(manifest) || len(lostBlobs(j.targets)) > 0 {
		return made, err
	}
	digest, err := index.Digest()
	if err != nil {
		return made, err
	}
	return f.leave(ctx, j, func(there v1.Hash, _ *v1.IndexManifest) bool { return there == digest })
}

// leave moves the tags of a plain image, and the record, if every target has the image
// that would be made: alike knows it by its digest or its manifest.
func (f *Factory) leave(ctx context.Context, j job, alike func(v1.Hash, *v1.IndexManifest) bool) (outcome, error) {
	j, err := j.aim(true)
	if err != nil {
		return outcome{targets: j.targets}, err
	}
	targets, same, err := f.unchanged(ctx, j, alike)
	if err != nil || !same {
		return outcome{targets: j.targets}, err
	}
	j.targets = targets
	j.plan.Action, j.plan.Reason = plan.None, plan.Unchanged
	return outcome{targets: targets, unchanged: true}, f.retag(ctx, j)
}

// unchanged returns the targets of a plain image that every one of them has already.
func (f *Factory) unchanged(ctx context.Context, j job, alike func(v1.Hash, *v1.IndexManifest) bool) (targets []target, same bool, err error) {
	targets = slices.Clone(j.targets)
	for i, t := range targets {
		if targets[i].held, same, err = f.heldAs(ctx, j, t, alike); err != nil || !same {
			return nil, false, err
		}
	}
	return targets, true, nil
}

// heldAs reads the image that a target has, and tells whether it is the one that
// would be made.
func (f *Factory) heldAs(ctx context.Context, j job, t target, alike func(v1.Hash, *v1.IndexManifest) bool) (held, bool, error) {
	digest, err := t.repo.Digest(ctx, t.tag)
	if errors.Is(err, registry.ErrNotFound) {
		return held{}, false, nil
	}
	if err != nil {
		return held{}, false, fmt.Errorf("%s: %w", t.ref, err)
	}
	index, err := t.repo.Index(ctx, digest.String())
	if err != nil {
		return held{}, false, fmt.Errorf("%s: %w", t.ref, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || !alike(digest, manifest) {
		return held{}, false, err
	}
	h := held{
		state:   plan.Published{Found: true, Digest: digest, Rev: j.commit.Rev, Recipe: j.recipe},
		version: image.VersionOf(manifest.Annotations),
		systems: image.Systems(manifest),
	}
	if t.recorded != nil && t.recorded.Digest == digest {
		h.checked, h.nix = t.recorded.Checked, t.recorded.Nix
	}
	if f.Now().Sub(h.checked) < recheck {
		return h, true, nil
	}
	lost, err := t.repo.Missing(ctx, digest)
	if err != nil {
		return held{}, false, fmt.Errorf("%s: %w", t.ref, err)
	}
	h.checked = f.Now()
	return h, len(lost) == 0, nil
}

// says tells whether an index was made by a recipe out of what was evaluated, for
// each of the systems.
func says(manifest *v1.IndexManifest, by recipe.ID, sets []evaluated) bool {
	if recipe.ID(manifest.Annotations[image.RecipeLabel]) != by || len(manifest.Manifests) != len(sets) {
		return false
	}
	for i, desc := range manifest.Manifests {
		made := desc.Annotations[image.SystemLabel] + " " + desc.Annotations[image.ToolsetLabel]
		if made != sets[i].system.Nix+" "+sets[i].set.Digest() {
			return false
		}
	}
	return true
}

// retag moves what tags a plain image has to it, and records that it is the one of
// another commit now.
func (f *Factory) retag(ctx context.Context, j job) error {
	for _, t := range j.targets {
		if err := f.repairTarget(ctx, j, t); err != nil {
			return err
		}
	}
	return f.record(j, j.targets)
}
