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
	"github.com/nixpkgs-factory/factory/internal/reuse"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// stacks are the layers of an image: what all its systems share, and what each of
// them has.
type stacks struct {
	base  *layers.Layer // the source; nil where it is not in the image
	each  []stack
	lacks lacking
}

// lacking is, by system that was left out, a store path that no cache has.
type lacking map[config.System]nix.BaseName

// stack is what the image of one system has beyond the source.
type stack struct {
	evaluated
	contents contents
	below    []*layers.Layer // the closure
	root     *layers.Layer   // root file system, database, links
}

// evaluated is what image.nix says for one system.
type evaluated struct {
	system config.System
	set    toolset.Toolset
	args   toolset.Args // by which the tools in set are had
}

// pack makes the layers of the systems, one after the other, and beside them the
// source's, which they share. After an error it returns those that were made.
func (f *Factory) pack(ctx context.Context, w work, sets []evaluated) (stacks, error) {
	var s stacks
	old := w.earlier()
	group, groupCtx := errgroup.WithContext(ctx)
	if sets[0].set.HasNixpkgs() {
		group.Go(func() (err error) {
			if s.base, err = f.packSource(groupCtx, w, old); err != nil {
				return fmt.Errorf("source: %w", err)
			}
			return nil
		})
	}
	group.Go(func() (err error) {
		s.each, s.lacks, err = f.packSystems(groupCtx, w, old, sets)
		return err
	})
	err := group.Wait()
	return s, err
}

// evaluate asks Nix what the image is for each of the systems. Whether nixpkgs
// is in it cannot depend on the system.
func (f *Factory) evaluate(ctx context.Context, w work, systems []config.System) ([]evaluated, error) {
	sets := make([]evaluated, len(systems))
	for i, system := range systems {
		var err error
		if sets[i], err = f.evaluateFor(ctx, w, system); err != nil {
			return nil, fmt.Errorf("%s: toolset: %w", system.Nix, err)
		}
		if sets[i].set.HasNixpkgs() != sets[0].set.HasNixpkgs() {
			return nil, fmt.Errorf("%s: toolset: nixpkgs is in the image of one of %v, and not in that of another", system.Nix, systems)
		}
	}
	return sets, nil
}

// packSource returns the layer with the source, from a registry if one has it.
func (f *Factory) packSource(ctx context.Context, w work, old reuse.Index) (*layers.Layer, error) {
	key := layers.LinkedKeyOf(f.encoding(), w.src.objects)
	if layer := old.Layer(key); layer != nil {
		return layer, nil
	}
	return w.made.take(key, nil, nil, func() (*layers.Layer, error) {
		return f.packer(w).Linked(ctx, w.src.tree, w.src.objects)
	})
}

func (f *Factory) packSystems(ctx context.Context, w work, old reuse.Index, sets []evaluated) (made []stack, lacks lacking, err error) {
	for _, e := range sets {
		s, err := f.packSystem(ctx, w, old, e)
		var absent *binarycache.NotFoundError
		switch {
		case err == nil:
			made = append(made, s)
		case errors.As(err, &absent) && slices.Contains(w.channel.Optional, e.system):
			w.log.Warn("left out: upstream does not have this system", "system", e.system.Nix, "error", err)
			if lacks == nil {
				lacks = make(lacking)
			}
			lacks[e.system] = nix.BaseName{StorePath: absent.Path}
		default:
			return made, lacks, fmt.Errorf("%s: %w", e.system.Nix, err)
		}
	}
	return made, lacks, nil
}

// assemble makes the images of the systems out of their layers.
func (f *Factory) assemble(w work, s stacks) ([]image.Part, error) {
	var parts []image.Part
	for _, one := range s.each {
		stack := slices.Clone(one.below)
		if s.base != nil {
			stack = append(stack, s.base)
		}
		settings := image.Settings{System: one.system, Set: one.set}
		img, err := image.Assemble(f.facts(w, one.set), settings, append(stack, one.root))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.system.Nix, err)
		}
		parts = append(parts, image.Part{System: one.system, Image: img})
	}
	return parts, nil
}

// facts are what the image says of itself.
func (f *Factory) facts(w work, set toolset.Toolset) image.Facts {
	facts := image.Facts{Recipe: w.recipe, Version: set.Version, Labels: set.Labels, Extra: f.Config.Labels}
	if !set.HasNixpkgs() {
		facts.Name = w.image.Name()
		return facts
	}
	facts.Nixpkgs = &image.Nixpkgs{
		Channel:    w.channel.Name,
		Rev:        w.commit.Rev,
		Date:       w.commit.Date,
		Version:    w.src.version,
		NarHash:    w.src.tree.NarHash,
		Repository: f.Config.Upstream.Repository,
	}
	return facts
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
