package ownimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// Options are what to make the image of and where it goes.
type Options struct {
	Base    registry.Repository // holds the base
	BaseTag string              // tag or digest of the base in it
	Facts   Facts
	Images  []string // image folders
	Config  string   // channels.yaml
	Bare    bool     // see Content

	// Compile compiles the factory for a system into a file.
	Compile func(ctx context.Context, system config.System, to string) error

	Places []Place  // at least one
	Tags   []string // at least one
}

// Place is a repository that gets the image.
type Place struct {
	Repository registry.Repository

	// Bases is the repository of the same registry in which the base may be,
	// too. From there its layers are mounted instead of sent. May be nil.
	Bases registry.Repository
}

// Published is what became of the image in one place.
type Published struct {
	Image  string // reference by the first tag
	Digest v1.Hash
	New    bool // whether anything was pushed
}

// Publish makes the image and puts it where it is not. All manifests are pushed
// everywhere before the first tag is set.
func Publish(ctx context.Context, o Options) ([]Published, error) {
	base, err := o.Base.Index(ctx, o.BaseTag)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	digest, err := base.Digest()
	if err != nil {
		return nil, err
	}
	systems, err := systemsOf(base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	scratch, err := os.MkdirTemp("", "ownimage-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	content := Content{Images: o.Images, Config: o.Config, Scratch: scratch, Bare: o.Bare}
	if content.Programs, err = compileAll(ctx, systems, o.Compile, scratch); err != nil {
		return nil, err
	}
	indexes := make([]v1.ImageIndex, len(o.Places))
	for i, p := range o.Places {
		near := base
		if p.Bases != nil {
			if found, err := p.Bases.Index(ctx, digest.String()); err == nil {
				near = found
			}
		}
		if indexes[i], err = Index(near, content, o.Facts); err != nil {
			return nil, err
		}
	}
	return push(ctx, o, indexes)
}

func compileAll(ctx context.Context, systems []config.System, compile func(context.Context, config.System, string) error, scratch string) (map[config.System]string, error) {
	programs := make(map[config.System]string)
	for _, system := range systems {
		file := filepath.Join(scratch, "factory-"+system.Nix)
		if err := compile(ctx, system, file); err != nil {
			return nil, err
		}
		programs[system] = file
	}
	return programs, nil
}

func push(ctx context.Context, o Options, indexes []v1.ImageIndex) ([]Published, error) {
	results := make([]Published, len(o.Places))
	missing := make([][]string, len(o.Places)) // tags of each place
	for i, p := range o.Places {
		digest, err := indexes[i].Digest()
		if err != nil {
			return nil, err
		}
		results[i] = Published{Image: p.Repository.Ref(o.Tags[0]), Digest: digest}
		for _, tag := range o.Tags {
			had, err := p.Repository.Digest(ctx, tag)
			switch {
			case err != nil && !errors.Is(err, registry.ErrNotFound):
				return nil, fmt.Errorf("%s: %w", p.Repository.Ref(tag), err)
			case err != nil || had != digest:
				missing[i] = append(missing[i], tag)
			}
		}
		if len(missing[i]) == 0 {
			continue
		}
		if err := p.Repository.Push(ctx, indexes[i]); err != nil {
			return nil, fmt.Errorf("publish: %s: %w", results[i].Image, err)
		}
	}
	for i, p := range o.Places {
		for _, tag := range missing[i] {
			if err := p.Repository.Tag(ctx, indexes[i], tag); err != nil {
				return nil, fmt.Errorf("publish: %s: %w", p.Repository.Ref(tag), err)
			}
			results[i].New = true
		}
	}
	return results, nil
}
