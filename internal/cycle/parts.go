package cycle

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
)

// Part is the image of one system, pushed by digest, that waits for those of
// the other systems. The JSON form goes from one job of a CI matrix to the next.
type Part struct {
	Channel   string        `json:"channel"`
	ImageName string        `json:"imageName"`
	Rev       git.Rev       `json:"rev"`
	System    config.System `json:"system"`
	Recipe    recipe.ID     `json:"recipe"`
	Digest    string        `json:"digest"`

	// Lacks is the store path that no cache has, where the digest is empty.
	Lacks nix.BaseName `json:"lacks,omitzero"`

	Nix string `json:"nix"` // version of the one that evaluated

	Moved record.Moved `json:"moved"` // for this part

	Bill v1.Hash `json:"bill,omitzero"` // the manifest of the SBOM beside the image

	Err error `json:"-"` // why there is none
}

// BuildParts builds images of one system, those of a channel that are named or all,
// and pushes them to every destination, under their digests only. One that fails
// does not stop the others.
func (f *Factory) BuildParts(ctx context.Context, channel, rev string, system config.System, images ...string) ([]Part, error) {
	asked, err := f.revisions(ctx, channel, rev, images...)
	if err != nil {
		return nil, err
	}
	if systems := f.Config.SystemsOf(asked[0].channel); !slices.Contains(systems, system) {
		return nil, fmt.Errorf("%s is not a system of %s (it has %v)", system, channel, systems)
	}
	var b bench
	defer b.end()
	var parts []Part
	for _, r := range asked {
		j := job{revision: r, targets: untried(r)}
		log := f.logOf(channel, r.image.Name()).With("rev", r.commit.Rev)
		if ctx.Err() != nil {
			break
		}
		began := f.Moved.Total()
		part, err := withoutLost(ctx, log, false, func(fresh bool) (Part, error) { return f.part(ctx, j, system, &b, fresh, log) })
		part.Err, part.Moved = err, f.Moved.since(began)
		parts = append(parts, part)
	}
	return parts, nil
}

// untried are the targets of a revision that nobody has asked for it.
func untried(r revision) []target {
	targets := make([]target, len(r.repositories))
	for i, repo := range r.repositories {
		targets[i] = at(repo, r.commitTag(), false)
	}
	return targets
}

// part makes the image of one system and pushes it. The digest is empty for an
// optional system that upstream does not have.
func (f *Factory) part(ctx context.Context, j job, system config.System, b *bench, fresh bool, log *slog.Logger) (Part, error) {
	part := Part{Channel: j.channel.Name, ImageName: j.image.Name(), Rev: j.commit.Rev, System: system, Recipe: j.recipe}
	w, end, err := f.begin(ctx, j, b, fresh, log)
	if err != nil {
		return part, err
	}
	defer end()
	part.Nix = w.nix.Version
	stacks, err := f.pack(ctx, w, []config.System{system}, nil)
	part.Lacks = stacks.lacks[system]
	if err != nil || len(stacks.each) == 0 {
		return part, err
	}
	images, err := f.assemble(w, stacks)
	if err != nil {
		return part, err
	}
	digest, err := images[0].Image.Digest()
	if err != nil {
		return part, err
	}
	for _, t := range j.targets {
		if err := t.repo.PushImage(ctx, images[0].Image, w.recent()...); err != nil {
			return part, fmt.Errorf("publish: %s: %w", t.repo.Ref(digest.String()), err)
		}
	}
	said, err := f.describe(ctx, w, stacks, images, j.targets)
	if err != nil {
		return part, fmt.Errorf("attest: %w", err)
	}
	if len(said) > 0 {
		part.Bill = said[0]
	}
	f.upload(ctx, w.src, stacks, log)
	part.Digest = digest.String()
	return part, nil
}

// Join publishes one image out of the parts of a commit, which BuildPart has
// pushed. It is the same image as if one machine had built all systems.
func (f *Factory) Join(ctx context.Context, parts []Part) Result {
	first := parts[0]
	result := Result{Channel: first.Channel, ImageName: first.ImageName, Rev: first.Rev, Action: plan.None, Published: []Published{}}
	began := f.Moved.Total()
	j, err := f.planJoin(ctx, first)
	j.began = began
	for _, p := range parts {
		j.elsewhere.Fetched += p.Moved.Fetched
		j.elsewhere.Pushed += p.Moved.Pushed
	}
	if err == nil {
		result.Action, result.Reason = j.plan.Action, j.plan.Reason
		err = j.plan.Err
	}
	targets := j.targets
	switch {
	case err != nil:
	case j.plan.Action == plan.None:
		err = f.repairTags(ctx, j)
	default:
		var done outcome
		done, err = f.join(ctx, j, parts)
		targets, result.Index = done.targets, done.index
		switch {
		case err != nil:
		case done.unchanged:
			result.Action, result.Reason = plan.None, plan.Unchanged
		case allKept(targets):
			result.Action, result.Reason = plan.None, plan.Kept
		}
	}
	result.Published = published(targets)
	return f.recordFailure(ctx, result, err)
}

// planJoin makes the job for a commit and an image whose parts were built.
func (f *Factory) planJoin(ctx context.Context, of Part) (job, error) {
	asked, err := f.revisions(ctx, of.Channel, of.Rev.String(), of.ImageName)
	if err != nil {
		return job{}, err
	}
	r := asked[0]
	head, err := f.Store.Head(of.Channel)
	if err != nil {
		return job{}, err
	}
	if r.isHead && head != nil && head.Rev == of.Rev {
		r.since = head.Since
	}
	targets, known := f.resolve(ctx, r)
	if !r.isHead {
		return job{revision: r, targets: targets, plan: plan.Fill(known)}, nil
	}
	return job{revision: r, targets: targets, plan: plan.Make([]plan.Channel{known})[0]}, nil
}

func (f *Factory) join(ctx context.Context, j job, parts []Part) (outcome, error) {
	done := outcome{targets: j.targets}
	if _, err := f.signer(); err != nil {
		return done, err
	}
	dir, release, err := f.workDir(ctx)
	if err != nil {
		return done, err
	}
	defer release()
	var images []image.Part
	for _, system := range f.Config.SystemsOf(j.channel) {
		img, err := f.partOf(ctx, j, parts, system)
		if err != nil {
			return done, fmt.Errorf("%s: %w", system.Nix, err)
		}
		if img != nil {
			images = append(images, image.Part{System: system, Image: img})
		}
	}
	index, err := image.Index(images)
	if err != nil {
		return done, err
	}
	if settled, err := f.settleJoined(ctx, j, index); err != nil || settled.unchanged {
		return settled, err
	}
	not := unsaid{lacks: make(lacking), nix: parts[0].Nix}
	for _, part := range parts {
		if !part.Lacks.IsZero() {
			not.lacks[part.System] = part.Lacks
		}
	}
	if done.targets, err = f.publish(ctx, j, index, not, dir, func(j job) error {
		return f.vouch(ctx, j, index, billsOf(parts))
	}); err != nil {
		return done, err
	}
	done.index = index
	if err := f.Store.Record(publications(j, done.targets, f.moved(j), f.Now())); err != nil {
		return done, err
	}
	if err := f.Store.Succeed(j.id(), j.commit.Rev); err != nil {
		return done, err
	}
	return done, nil
}

// partOf returns the image of a system, nil for an optional one that upstream
// does not have.
func (f *Factory) partOf(ctx context.Context, j job, parts []Part, system config.System) (v1.Image, error) {
	i := slices.IndexFunc(parts, func(p Part) bool { return p.System == system })
	if i < 0 {
		return nil, fmt.Errorf("no part of %s@%s is for this system: it was not built", j.channel.Name, j.commit.Rev)
	}
	part := parts[i]
	switch {
	case part.Channel != j.channel.Name || part.ImageName != j.image.Name() || part.Rev != j.commit.Rev:
		return nil, fmt.Errorf("the part is of %s %s@%s", part.Channel, part.ImageName, part.Rev)
	case part.Recipe != j.recipe:
		return nil, fmt.Errorf("the part was made by the recipe %s, this configuration has %s", part.Recipe, j.recipe)
	case part.Digest == "" && slices.Contains(j.channel.Optional, system):
		return nil, nil
	}
	digest, err := v1.NewHash(part.Digest)
	if err != nil {
		return nil, err
	}
	img, err := j.targets[0].repo.Image(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.targets[0].repo.Ref(part.Digest), err)
	}
	return img, nil
}
