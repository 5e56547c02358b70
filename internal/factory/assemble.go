package factory

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

func (b *build) packer() layers.Packer {
	return layers.Packer{Dir: b.dir, Encoding: b.encoding()}
}

// image makes the image of one system.
func (b *build) image(ctx context.Context, system config.System, base *promise[*layers.Layer]) (v1.Image, error) {
	log := b.log.With("system", system.Nix)
	args := b.args(system)
	label := b.channel.Name + " " + system.Nix
	evaluating := b.Progress.Start(label+" evaluating", 0)
	set, err := toolset.Evaluate(ctx, b.nix, b.Config.Image, filepath.Join(b.dir, "nix-"+system.Nix), args)
	evaluating.Done()
	if err != nil {
		return nil, fmt.Errorf("toolset: %w", err)
	}
	for _, tool := range set.Broken {
		log.Warn("this nixpkgs cannot evaluate an optional tool", "tool", tool.Attr, "error", tool.Err)
		args.Without = append(args.Without, tool.Attr)
	}
	if len(set.Missing) > 0 {
		log.Warn("this nixpkgs lacks tools", "missing", strings.Join(set.Missing, " "))
	}
	store, err := b.objects(ctx, set, args, slices.Contains(b.channel.Optional, system))
	if err != nil {
		return nil, fmt.Errorf("toolset: %w", err)
	}
	closed, err := closure.Compute(ctx, store, set.Roots(paths(b.sources)...))
	if err != nil {
		return nil, fmt.Errorf("closure: %w", err)
	}
	log.Info("closure", "paths", len(closed), "bytes", closure.Size(closed))

	b.full = append(b.full, contents{closed, store})
	stack, listings, err := b.pack(ctx, label, store, set, closed)
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	sourceLayer, err := base.wait(ctx)
	if err != nil {
		return nil, err
	}
	root, err := b.rootLayer(system, set, closed, listings)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return image.Assemble(b.facts, settings(system, set), append(stack, sourceLayer, root))
}

func (b *build) args(system config.System) toolset.Args {
	return toolset.Args{
		Nixpkgs:      b.unpacked,
		System:       system.Nix,
		Source:       b.sources[0].Path,
		SourceAlias:  b.sources[len(b.sources)-1].Path,
		NarHash:      b.tree.NarHash,
		LastModified: b.commit.Date.Unix(),
		Rev:          b.commit.Rev,
		Channel:      b.channel.Name,
	}
}

// pack makes the closure's layers, or finds them.
func (b *build) pack(ctx context.Context, label string, store objects, set toolset.Toolset, closed []nix.PathInfo) ([]*layers.Layer, map[nix.StorePath][]string, error) {
	list := make(map[nix.StorePath]bool)
	for _, tool := range set.Tools {
		list[tool.Path] = true
	}
	groups := layers.Group(closed, layers.MaxClosureLayers)
	stack := make([]*layers.Layer, len(groups))
	listings := make(map[nix.StorePath][]string)
	var todo int64
	for i, objects := range groups {
		stack[i] = b.found.LayerWith(layers.Key(b.encoding(), objects), objects, list)
		if stack[i] == nil {
			todo += closure.Size(objects)
		}
	}
	task := b.Progress.Start(label+" layers", todo)
	defer task.Done()

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	for i, objects := range groups {
		if stack[i] != nil {
			continue
		}
		group.Go(func() error {
			var err error
			stack[i], err = b.packer().Objects(ctx, counting{store, task}, objects, list)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for _, layer := range stack {
		b.count(layer)
		for p, files := range layer.Listings {
			listings[p] = image.Listed(files)
		}
	}
	for p := range list {
		if _, ok := listings[p]; !ok {
			listings[p] = b.found.Listing(p)
		}
	}
	return stack, listings, nil
}

// parallelLayers bounds how many layers are made at once. Each holds one
// connection and one decompressor.
const parallelLayers = 3

func (b *build) count(layer *layers.Layer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = append(b.made, layer)
	b.stats.Layers++
	if layer.Reused() {
		b.stats.ReusedLayers++
	}
	size, _ := layer.Size() // of a finished layer: no error
	b.stats.Size += size
}

// rootLayer makes the layer with the database, the links and the root file
// system.
func (b *build) rootLayer(system config.System, set toolset.Toolset, closed []nix.PathInfo, listings map[nix.StorePath][]string) (*layers.Layer, error) {
	database := filepath.Join(b.dir, "db-"+system.Nix+".sqlite")
	if err := nixdb.Write(database, slices.Concat(closed, b.sources)); err != nil {
		return nil, err
	}
	inventory := image.Inventory{
		Channel: b.channel.Name,
		Rev:     b.commit.Rev,
		System:  system.Nix,
		Recipe:  b.recipe,
		Sources: paths(b.sources),
		Tools:   []image.InventoryTool{},
		Missing: append([]string{}, set.Missing...),
	}
	for _, t := range set.Tools {
		inventory.Tools = append(inventory.Tools, image.InventoryTool{
			Attr: t.Attr, Name: t.Name, Version: t.Version, Path: t.Path, Files: listings[t.Path],
		})
	}
	files, err := image.Root{
		Image:     b.Config.Image,
		Set:       set,
		Inventory: inventory,
		Roots:     append(set.Roots(paths(b.sources)...), paths(b.sources)...),
		Database:  database,
	}.Files()
	if err != nil {
		return nil, err
	}
	layer, err := b.packer().Files(files, "root file system, Nix database, links")
	if err != nil {
		return nil, err
	}
	b.count(layer)
	return layer, nil
}

func settings(system config.System, set toolset.Toolset) image.Settings {
	s := image.Settings{System: system, Env: set.Env, Cmd: set.Cmd, WorkDir: set.WorkDir, Tools: []image.ToolFact{}}
	for _, t := range set.Tools {
		s.Tools = append(s.Tools, image.ToolFact{Name: t.Name, Version: t.Version, Path: t.Path.String()})
	}
	return s
}

func paths(infos []nix.PathInfo) []nix.StorePath {
	list := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		list[i] = info.Path
	}
	return list
}
