package factory

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// Part is the image of one system, pushed by digest, that waits for those of
// the other systems. The JSON form goes from one job of a CI matrix to the next.
type Part struct {
	Channel string `json:"channel"`
	Rev     string `json:"rev"`
	System  string `json:"system"`
	Recipe  string `json:"recipe"`
	Digest  string `json:"digest"`

	// Lacks is the store path that no cache has, where the digest is empty.
	Lacks string `json:"lacks,omitempty"`
}

// BuildPart builds the image of one system and pushes it to every destination,
// under its digest only.
func (f *Factory) BuildPart(ctx context.Context, channel, rev, system string) (Part, error) {
	d, err := f.at(ctx, channel, rev)
	if err != nil {
		return Part{}, err
	}
	i := slices.IndexFunc(f.Config.SystemsOf(d.channel), func(s config.System) bool { return s.Nix == system })
	if i < 0 {
		return Part{}, fmt.Errorf("%s is not a system of %s (it has %v)", system, channel, systemNames(f.Config.SystemsOf(d.channel)))
	}
	part := Part{Channel: channel, Rev: d.commit.Rev, System: system, Recipe: d.recipe}
	b := &build{Factory: f, due: &d, log: f.Log.With("channel", channel, "rev", d.commit.Rev)}
	err = b.attempt(ctx, func(b *build) error {
		part.Digest, err = b.part(ctx, f.Config.SystemsOf(d.channel)[i])
		part.Lacks = b.lacks[system]
		return err
	})
	return part, err
}

// part makes the image of one system and pushes it. The digest is empty for an
// optional system that upstream does not have.
func (b *build) part(ctx context.Context, system config.System) (string, error) {
	done, err := b.begin(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	parts, err := b.parts(ctx, []config.System{system})
	if err != nil || len(parts) == 0 {
		return "", err
	}
	digest, err := parts[0].Image.Digest()
	if err != nil {
		return "", err
	}
	for _, p := range b.places {
		if err := p.repo.PushImage(ctx, parts[0].Image); err != nil {
			return "", fmt.Errorf("publish: %s: %w", p.repo.Ref(digest.String()), err)
		}
	}
	b.fillCaches(ctx)
	return digest.String(), nil
}

// Join publishes one image out of the parts of a commit, which BuildPart has
// pushed. It is the same image as if one machine had built all systems.
func (f *Factory) Join(ctx context.Context, parts []Part) Result {
	first := parts[0]
	result := Result{Channel: first.Channel, Rev: first.Rev, Action: plan.None, Published: []Published{}}
	d, err := f.at(ctx, first.Channel, first.Rev)
	if err == nil {
		asked := f.ask(ctx, &d)
		if d.isHead {
			d.job = plan.Make([]plan.Channel{asked})[0]
		} else {
			d.job = plan.Fill(asked)
		}
		result.Action, result.Reason = d.job.Action, d.job.Reason
		err = d.job.Err
	}
	switch {
	case err != nil:
	case d.job.Action == plan.None:
		err = f.settle(ctx, d)
	default:
		if err = f.join(ctx, &d, parts); err == nil && d.kept() {
			result.Action, result.Reason = plan.None, plan.Kept
		}
	}
	result.Published = d.published()
	f.conclude(ctx, &result, err)
	return result
}

func (f *Factory) join(ctx context.Context, d *due, parts []Part) error {
	dir, release, err := workdir.Make(ctx, f.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if err := release(); err != nil {
			f.Log.Warn("a work folder is left behind", "error", err)
		}
	}()
	var images []image.Part
	for _, system := range f.Config.SystemsOf(d.channel) {
		img, err := f.partOf(ctx, d, parts, system)
		if err != nil {
			return fmt.Errorf("%s: %w", system.Nix, err)
		}
		if img != nil {
			images = append(images, image.Part{System: system, Image: img})
		}
	}
	index, err := image.Index(images)
	if err != nil {
		return err
	}
	lacks := make(map[string]string)
	for _, part := range parts {
		if part.Lacks != "" {
			lacks[part.System] = part.Lacks
		}
	}
	if err := f.publish(ctx, d, index, lacks, dir); err != nil {
		return err
	}
	if err := f.Store.Record(d.publications(f.Now()), nil, nil); err != nil {
		return err
	}
	return f.Store.Succeed(d.channel.Name, d.commit.Rev)
}

// partOf returns the image of a system, nil for an optional one that upstream
// does not have.
func (f *Factory) partOf(ctx context.Context, d *due, parts []Part, system config.System) (v1.Image, error) {
	i := slices.IndexFunc(parts, func(p Part) bool { return p.System == system.Nix })
	if i < 0 {
		return nil, fmt.Errorf("no part of %s@%s is for this system: it was not built", d.channel.Name, d.commit.Rev)
	}
	part := parts[i]
	switch {
	case part.Channel != d.channel.Name || part.Rev != d.commit.Rev:
		return nil, fmt.Errorf("the part is of %s@%s", part.Channel, part.Rev)
	case part.Recipe != d.recipe:
		return nil, fmt.Errorf("the part was made by the recipe %s, this configuration has %s", part.Recipe, d.recipe)
	case part.Digest == "" && slices.Contains(d.channel.Optional, system):
		return nil, nil
	}
	digest, err := v1.NewHash(part.Digest)
	if err != nil {
		return nil, err
	}
	img, err := d.places[0].repo.Image(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.places[0].repo.Ref(part.Digest), err)
	}
	return img, nil
}
