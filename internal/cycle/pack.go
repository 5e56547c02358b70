package cycle

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

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

// pack makes the layers of an image, each step as soon as it has what it needs: the
// source's layer while Nix evaluates for the systems, and those of a system while
// others are evaluated. Layers are on their way to the registries as soon as they
// are made. settle says, of an image without nixpkgs, whether it has to be made; nil:
// it has. After an error pack returns the layers that are whole.
func (f *Factory) pack(ctx context.Context, w work, systems []config.System, settle func([]evaluated) (bool, error)) (stacks, error) {
	group, within := errgroup.WithContext(ctx)
	v := newVerdict(within, systems, settle)
	defer v.end()
	var s stacks
	group.Go(func() (err error) {
		s.base, err = f.packSource(within, w, v)
		return inStep("source", err)
	})
	evaluating := make(chan struct{}, runtime.GOMAXPROCS(0))
	each := make([]*stack, len(systems))
	var mu sync.Mutex
	for i, system := range systems {
		group.Go(func() error {
			evaluating <- struct{}{}
			e, err := f.evaluateFor(within, w, system)
			<-evaluating
			if err != nil {
				return fmt.Errorf("%s: toolset: %w", system.Nix, err)
			}
			if due, err := v.join(within, i, e); err != nil || !due {
				return err
			}
			made, err := f.packSystem(within, w, e)
			if absent, leave := left(w, system, err); leave {
				w.log.Warn("left out: upstream does not have this system", "system", system.Nix, "error", err)
				mu.Lock()
				defer mu.Unlock()
				s.lacks = s.lacks.with(system, absent)
				return nil
			}
			if err == nil {
				each[i] = &made
			}
			return inStep(system.Nix, err)
		})
	}
	err := group.Wait()
	w.sender.end()
	for _, made := range each {
		if made != nil {
			s.each = append(s.each, *made)
		}
	}
	return s, err
}

// left tells whether a system is left out of an image for want of a store path.
func left(w work, system config.System, err error) (lack nix.StorePath, leave bool) {
	var absent *binarycache.NotFoundError
	if !errors.As(err, &absent) || !slices.Contains(w.channel.Optional, system) {
		return nix.StorePath{}, false
	}
	return absent.Path, true
}

func (l lacking) with(system config.System, path nix.StorePath) lacking {
	if l == nil {
		l = make(lacking)
	}
	l[system] = nix.BaseName{StorePath: path}
	return l
}

// inStep names the step that failed. Errors of sending name themselves.
func inStep(step string, err error) error {
	var sending *sendError
	if err == nil || errors.As(err, &sending) {
		return err
	}
	return fmt.Errorf("%s: %w", step, err)
}

// packSource returns the layer with the source, from a registry if one has it; nil
// if it is not in the image. Before that is known it is made where it is likely to
// be needed, and sent nowhere.
func (f *Factory) packSource(ctx context.Context, w work, v *verdict) (*layers.Layer, error) {
	if !w.likely {
		if withNixpkgs, err := v.wait(ctx); err != nil || !withNixpkgs {
			return nil, err
		}
	}
	layer, err := f.sourceLayer(v.wanted, w)
	if v.wanted.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if withNixpkgs, err := v.wait(ctx); err != nil || !withNixpkgs {
		return nil, err
	}
	return layer, w.hand(ctx, layer)
}

// hand sends a layer, and keeps it no longer than somebody may need it.
func (w work) hand(ctx context.Context, layer *layers.Layer) error {
	mine, err := w.send(ctx, layer)
	if err != nil || !mine || w.keeps {
		return err
	}
	return layer.Drop()
}

func (f *Factory) sourceLayer(ctx context.Context, w work) (*layers.Layer, error) {
	old, err := w.earlier.wait(ctx)
	if err != nil {
		return nil, err
	}
	key := layers.LinkedKeyOf(f.encoding(), w.src.objects)
	if layer := old.Layer(key); layer != nil {
		return layer, nil
	}
	return w.made.take(key, nil, nil, func() (*layers.Layer, error) {
		return f.packer(w).Linked(ctx, w.src.tree, w.src.objects)
	})
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
