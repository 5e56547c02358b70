package cycle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// stacks are the layers of an image: what all its systems share, and what each of
// them has.
type stacks struct {
	base  *layers.Layer // the source
	each  []stack
	lacks lacking
}

// lacking is, by system that was left out, a store path that no cache has.
type lacking map[config.System]nix.BaseName

// stack is what the image of one system has beyond the source.
type stack struct {
	system   config.System
	set      toolset.Toolset
	contents contents
	below    []*layers.Layer // the closure
	root     *layers.Layer   // root file system, database, links
}

// pack makes the layers of the systems, one after the other, and beside them the
// source's, which they share. After an error it returns those that were made.
func (f *Factory) pack(ctx context.Context, w work, systems []config.System) (stacks, error) {
	var s stacks
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if s.base, err = f.packSource(groupCtx, w); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		s.each, s.lacks, err = f.packSystems(groupCtx, w, systems)
		return err
	})
	err := group.Wait()
	return s, err
}

// packSource returns the layer with the source, from a registry if one has it.
func (f *Factory) packSource(ctx context.Context, w work) (*layers.Layer, error) {
	if layer := w.old.Layer(layers.LinkedKeyOf(f.encoding(), w.src.objects)); layer != nil {
		return layer, nil
	}
	return f.packer(w).Linked(ctx, w.src.tree, w.src.objects)
}

func (f *Factory) packSystems(ctx context.Context, w work, systems []config.System) (made []stack, lacks lacking, err error) {
	for _, system := range systems {
		s, err := f.packSystem(ctx, w, system)
		var absent *binarycache.NotFoundError
		switch {
		case err == nil:
			made = append(made, s)
		case errors.As(err, &absent) && slices.Contains(w.channel.Optional, system):
			w.log.Warn("left out: upstream does not have this system", "system", system.Nix, "error", err)
			if lacks == nil {
				lacks = make(lacking)
			}
			lacks[system] = nix.BaseName{StorePath: absent.Path}
		default:
			return made, lacks, fmt.Errorf("%s: %w", system.Nix, err)
		}
	}
	return made, lacks, nil
}

// assemble makes the images of the systems out of their layers.
func (f *Factory) assemble(w work, s stacks) ([]image.Part, error) {
	facts := image.Facts{
		Channel:    w.channel.Name,
		Rev:        w.commit.Rev,
		Date:       w.commit.Date,
		Version:    w.src.version,
		Recipe:     w.recipe,
		NarHash:    w.src.tree.NarHash,
		Repository: f.Config.Upstream.Repository,
		Extra:      f.Config.Labels,
	}
	var parts []image.Part
	for _, one := range s.each {
		img, err := image.Assemble(facts, settings(one.system, one.set), slices.Concat(one.below, []*layers.Layer{s.base, one.root}))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.system.Nix, err)
		}
		parts = append(parts, image.Part{System: one.system, Image: img})
	}
	return parts, nil
}

func settings(system config.System, set toolset.Toolset) image.Settings {
	s := image.Settings{System: system, Env: set.Env, Cmd: set.Cmd, WorkDir: set.WorkDir, Tools: []image.ToolFact{}}
	for _, t := range set.Tools {
		s.Tools = append(s.Tools, image.ToolFact{Name: t.Name, Version: t.Version, Path: t.Path.String()})
	}
	return s
}

// all are the layers that there are.
func (s stacks) all() []*layers.Layer {
	var list []*layers.Layer
	if s.base != nil {
		list = append(list, s.base)
	}
	for _, one := range s.each {
		list = append(append(list, one.below...), one.root)
	}
	return list
}

func (s stacks) stats() Stats {
	var stats Stats
	for _, layer := range s.all() {
		stats.Layers++
		if layer.Reused() {
			stats.ReusedLayers++
		}
		size, _ := layer.Size() // of a finished layer: no error
		stats.Size += size
	}
	return stats
}
