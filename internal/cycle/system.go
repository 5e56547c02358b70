package cycle

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/grouping"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/reuse"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// packSystem makes the layers of one system: it computes the closure of its toolset
// and packs that.
func (f *Factory) packSystem(ctx context.Context, w work, e evaluated) (stack, error) {
	store, err := f.objects(ctx, w, e, slices.Contains(w.channel.Optional, e.system))
	if err != nil {
		return stack{}, fmt.Errorf("toolset: %w", err)
	}
	closed, err := closure.Compute(ctx, store, e.set.Roots(w.src.paths()...))
	if err != nil {
		return stack{}, fmt.Errorf("closure: %w", err)
	}
	w.log.Info("closure", "system", e.system.Nix, "paths", len(closed), "bytes", closure.Size(closed))
	below, listings, err := f.packClosure(ctx, w, e, store, closed)
	if err != nil {
		return stack{}, inStep("layers", err)
	}
	root, err := f.packRoot(w, e, closed, listings)
	if err != nil {
		return stack{}, fmt.Errorf("image: %w", err)
	}
	if _, err := w.send(ctx, root); err != nil {
		return stack{}, err
	}
	return stack{evaluated: e, contents: contents{closed, store}, below: below, root: root}, nil
}

// evaluateFor asks Nix for the toolset of a system, and says which tools there are
// none of.
func (f *Factory) evaluateFor(ctx context.Context, w work, system config.System) (evaluated, error) {
	e := evaluated{system: system, args: toolset.Args{
		Nixpkgs:      w.src.unpacked,
		System:       system.Nix,
		Source:       w.src.objects[0].Path,
		SourceAlias:  w.src.objects[len(w.src.objects)-1].Path,
		NarHash:      w.src.tree.NarHash,
		LastModified: w.commit.Date.Unix(),
		Rev:          w.commit.Rev,
		Channel:      w.channel.Name,
	}}
	log := w.log.With("system", system.Nix)
	evaluating := f.Progress.Start(w.label+" "+system.Nix+" evaluating", 0)
	var err error
	e.set, err = toolset.Evaluate(ctx, w.nix, w.image.Folder, filepath.Join(w.own, "nix-"+system.Nix), e.args)
	evaluating.Done()
	if err != nil {
		return e, err
	}
	for _, tool := range e.set.Broken {
		log.Warn("this nixpkgs cannot evaluate an optional tool", "tool", tool.Attr, "error", tool.Err)
		e.args.Without = append(e.args.Without, tool.Attr)
	}
	if len(e.set.Missing) > 0 {
		log.Warn("this nixpkgs lacks tools", "missing", strings.Join(e.set.Missing, " "))
	}
	return e, nil
}

// packClosure makes the closure's layers, or finds them, learns the tools' files,
// and has each layer sent while the next ones are made.
func (f *Factory) packClosure(ctx context.Context, w work, e evaluated, store objects, closed []nix.PathInfo) ([]*layers.Layer, map[nix.StorePath][]string, error) {
	old, err := w.earlier.wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	list := make(map[nix.StorePath]bool)
	for _, tool := range e.set.Tools {
		list[tool.Path] = true
	}
	groups := grouping.Group(closed, layers.MaxClosureLayers)
	below := make([]*layers.Layer, len(groups))
	var todo int64
	for i, objects := range groups {
		below[i] = old.LayerWith(layers.KeyOf(f.encoding(), objects), objects, list)
		if below[i] == nil {
			todo += closure.Size(objects)
		}
	}
	task := f.Progress.Start(w.label+" "+e.system.Nix+" layers", todo)
	defer task.Done()

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers + parallelSends)
	for _, i := range inTurn(groups, below) {
		group.Go(func() (err error) {
			if below[i] == nil {
				below[i], err = f.packObjects(ctx, w, counting{store, task}, groups[i], list)
			}
			if err != nil {
				return err
			}
			return w.hand(ctx, below[i])
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	return below, listings(below, old, list), nil
}

// inTurn is the order in which layers are seen to: those that are there already,
// which take no more than a question, then the largest first, so that none is left
// to be made when all others are done.
func inTurn(groups [][]nix.PathInfo, found []*layers.Layer) []int {
	sizes := make([]int64, len(groups))
	order := make([]int, len(groups))
	for i, objects := range groups {
		order[i] = i
		if sizes[i] = math.MaxInt64; found[i] == nil {
			sizes[i] = closure.Size(objects)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	return order
}

// packObjects makes a layer of the closure as soon as it is its turn.
func (f *Factory) packObjects(ctx context.Context, w work, nars layers.NARs, objects []nix.PathInfo, list map[nix.StorePath]bool) (*layers.Layer, error) {
	select {
	case w.packing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-w.packing }()
	return w.made.take(layers.KeyOf(f.encoding(), objects), objects, list, func() (*layers.Layer, error) {
		return f.packer(w).Objects(ctx, nars, objects, list)
	})
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

// parallelLayers bounds how many layers of closures are made at once, of all
// systems together. Each holds one connection and one decompressor; compression
// is spread over the processors.
const parallelLayers = 3

// packRoot makes the layer with the database, the links and the root file system.
func (f *Factory) packRoot(w work, e evaluated, closed []nix.PathInfo, listings map[nix.StorePath][]string) (*layers.Layer, error) {
	root := image.Root{Image: w.image.Folder, Set: e.set, Inventory: w.inventory(e, listings)}
	createdBy := "root file system, links"
	if e.set.HasDatabase() {
		all := closed
		root.Roots = e.set.Roots(w.src.paths()...)
		if e.set.HasNixpkgs() {
			all = slices.Concat(closed, w.src.objects)
			root.Roots = append(root.Roots, w.src.paths()...)
		}
		root.Database = filepath.Join(w.own, "db-"+e.system.Nix+".sqlite")
		if err := nixdb.Write(root.Database, all); err != nil {
			return nil, err
		}
		createdBy = "root file system, Nix database, links"
	} else {
		root.Inventory.Objects = image.Objects(closed)
	}
	files, err := root.Files()
	if err != nil {
		return nil, err
	}
	return f.packer(w).Files(files, createdBy)
}

// inventory is the image's own list of what is in it.
func (w work) inventory(e evaluated, listings map[nix.StorePath][]string) image.Inventory {
	inventory := image.Inventory{
		System:  e.system,
		Recipe:  w.recipe,
		Tools:   []image.InventoryTool{},
		Missing: append([]string{}, e.set.Missing...),
	}
	if e.set.HasNixpkgs() {
		inventory.Channel, inventory.Rev, inventory.Sources = w.channel.Name, w.commit.Rev, w.src.paths()
	}
	for _, t := range e.set.Tools {
		inventory.Tools = append(inventory.Tools, image.InventoryTool{
			Attr: t.Attr, Name: t.Name, Version: t.Version, Path: t.Path, Files: listings[t.Path],
		})
	}
	return inventory
}

func (f *Factory) packer(w work) layers.Packer {
	return layers.Packer{Dir: w.own, Encoding: f.encoding()}
}
