package cycle

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/reuse"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// packSystem makes the layers of one system: it evaluates its toolset, computes
// the closure and packs that.
func (f *Factory) packSystem(ctx context.Context, w work, system config.System) (stack, error) {
	log := w.log.With("system", system.Nix)
	set, args, err := f.evaluate(ctx, w, system)
	if err != nil {
		return stack{}, fmt.Errorf("toolset: %w", err)
	}
	store, err := f.objects(ctx, w, set, args, slices.Contains(w.channel.Optional, system))
	if err != nil {
		return stack{}, fmt.Errorf("toolset: %w", err)
	}
	closed, err := closure.Compute(ctx, store, set.Roots(w.src.paths()...))
	if err != nil {
		return stack{}, fmt.Errorf("closure: %w", err)
	}
	log.Info("closure", "paths", len(closed), "bytes", closure.Size(closed))
	below, listings, err := f.packClosure(ctx, w, system, store, set, closed)
	if err != nil {
		return stack{}, fmt.Errorf("layers: %w", err)
	}
	root, err := f.packRoot(w, system, set, closed, listings)
	if err != nil {
		return stack{}, fmt.Errorf("image: %w", err)
	}
	return stack{system: system, set: set, contents: contents{closed, store}, below: below, root: root}, nil
}

// evaluate asks Nix for the toolset, and says which tools there are none of. The
// arguments are those that the tools in it are had by.
func (f *Factory) evaluate(ctx context.Context, w work, system config.System) (toolset.Toolset, toolset.Args, error) {
	args := toolset.Args{
		Nixpkgs:      w.src.unpacked,
		System:       system.Nix,
		Source:       w.src.objects[0].Path,
		SourceAlias:  w.src.objects[len(w.src.objects)-1].Path,
		NarHash:      w.src.tree.NarHash,
		LastModified: w.commit.Date.Unix(),
		Rev:          w.commit.Rev,
		Channel:      w.channel.Name,
	}
	log := w.log.With("system", system.Nix)
	evaluating := f.Progress.Start(w.channel.Name+" "+system.Nix+" evaluating", 0)
	set, err := toolset.Evaluate(ctx, w.nix, f.Config.Image, filepath.Join(w.dir, "nix-"+system.Nix), args)
	evaluating.Done()
	if err != nil {
		return set, args, err
	}
	for _, tool := range set.Broken {
		log.Warn("this nixpkgs cannot evaluate an optional tool", "tool", tool.Attr, "error", tool.Err)
		args.Without = append(args.Without, tool.Attr)
	}
	if len(set.Missing) > 0 {
		log.Warn("this nixpkgs lacks tools", "missing", strings.Join(set.Missing, " "))
	}
	return set, args, nil
}

// packClosure makes the closure's layers, or finds them, and learns the tools'
// files.
func (f *Factory) packClosure(ctx context.Context, w work, system config.System, store objects, set toolset.Toolset, closed []nix.PathInfo) ([]*layers.Layer, map[nix.StorePath][]string, error) {
	list := make(map[nix.StorePath]bool)
	for _, tool := range set.Tools {
		list[tool.Path] = true
	}
	groups := layers.Group(closed, layers.MaxClosureLayers)
	below := make([]*layers.Layer, len(groups))
	var todo int64
	for i, objects := range groups {
		below[i] = w.old.LayerWith(layers.KeyOf(f.encoding(), objects), objects, list)
		if below[i] == nil {
			todo += closure.Size(objects)
		}
	}
	task := f.Progress.Start(w.channel.Name+" "+system.Nix+" layers", todo)
	defer task.Done()

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	for i, objects := range groups {
		if below[i] != nil {
			continue
		}
		group.Go(func() error {
			var err error
			below[i], err = f.packer(w).Objects(ctx, counting{store, task}, objects, list)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	return below, listings(below, w.old, list), nil
}

// listings returns the tools' files: of the layers that were made, else of those
// that were found.
func listings(below []*layers.Layer, old reuse.Index, tools map[nix.StorePath]bool) map[nix.StorePath][]string {
	all := make(map[nix.StorePath][]string)
	for p := range tools {
		all[p] = old.Listing(p)
	}
	for _, layer := range below {
		for p, files := range layer.Listings {
			all[p] = image.Listed(files)
		}
	}
	return all
}

// parallelLayers bounds how many layers are made at once. Each holds one
// connection and one decompressor.
const parallelLayers = 3

// packRoot makes the layer with the database, the links and the root file system.
func (f *Factory) packRoot(w work, system config.System, set toolset.Toolset, closed []nix.PathInfo, listings map[nix.StorePath][]string) (*layers.Layer, error) {
	database := filepath.Join(w.dir, "db-"+system.Nix+".sqlite")
	if err := nixdb.Write(database, slices.Concat(closed, w.src.objects)); err != nil {
		return nil, err
	}
	sources := w.src.paths()
	inventory := image.Inventory{
		Channel: w.channel.Name,
		Rev:     w.commit.Rev,
		System:  system,
		Recipe:  w.recipe,
		Sources: sources,
		Tools:   []image.InventoryTool{},
		Missing: append([]string{}, set.Missing...),
	}
	for _, t := range set.Tools {
		inventory.Tools = append(inventory.Tools, image.InventoryTool{
			Attr: t.Attr, Name: t.Name, Version: t.Version, Path: t.Path, Files: listings[t.Path],
		})
	}
	files, err := image.Root{
		Image:     f.Config.Image,
		Set:       set,
		Inventory: inventory,
		Roots:     append(set.Roots(sources...), sources...),
		Database:  database,
	}.Files()
	if err != nil {
		return nil, err
	}
	return f.packer(w).Files(files, "root file system, Nix database, links")
}

func (f *Factory) packer(w work) layers.Packer {
	return layers.Packer{Dir: w.dir, Encoding: f.encoding()}
}
