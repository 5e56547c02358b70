package factory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixcli"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// build is the making of one image for all its systems.
type build struct {
	*Factory
	*due
	log   *slog.Logger
	dir   string // of this build alone
	nix   nixcli.Nix
	fresh bool   // nothing is reused: what a user asked for by hand is made from nothing
	found *found // what registries have of earlier images

	tree     *source.Tree
	sources  []nix.PathInfo // the tree's store objects
	unpacked string         // folder of the tree, for Nix
	facts    image.Facts

	mu    sync.Mutex
	made  []*layers.Layer
	full  []contents // of each system
	stats Stats
}

// make builds what is due, publishes and records it.
func (f *Factory) make(ctx context.Context, d *due, log *slog.Logger) (Stats, error) {
	b := build{Factory: f, due: d, log: log, fresh: d.job.Reason == plan.Requested}
	err := b.run(ctx)
	var lost *layers.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		log.Warn("a layer that was to be reused is lost, making all of them", "error", lost)
		b = build{Factory: f, due: d, log: log, fresh: true}
		err = b.run(ctx)
	}
	return b.stats, err
}

// run is the way from a commit to its tags.
func (b *build) run(ctx context.Context) error {
	done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	parts, err := b.parts(ctx, b.Config.SystemsOf(b.channel))
	if err != nil {
		return err
	}
	index, err := image.Index(parts)
	if err != nil {
		return err
	}
	if err := b.publish(ctx, b.due, index, b.facts.Version, b.dir); err != nil {
		return err
	}
	if err := b.record(); err != nil {
		return err
	}
	b.fillCaches(ctx)
	return nil
}

// begin takes in the source. done gives back what the build holds.
func (b *build) begin(ctx context.Context) (done func(), err error) {
	if b.nix, err = b.Nix(ctx); err != nil {
		return nil, err
	}
	dir, release, err := workDir(b.Dir)
	if err != nil {
		return nil, err
	}
	b.dir = dir
	b.found = b.lookBack(ctx)
	if err := b.takeSource(ctx); err != nil {
		release()
		return nil, fmt.Errorf("source: %w", err)
	}
	b.facts = b.describe()
	return func() {
		b.tree.Close()
		release()
	}, nil
}

// parts makes the images of the systems, while the source's layer, which they
// share, is made beside them.
func (b *build) parts(ctx context.Context, systems []config.System) ([]image.Part, error) {
	var parts []image.Part
	group, groupCtx := errgroup.WithContext(ctx)
	base := newPromise[*layers.Layer]()
	group.Go(func() error {
		layer, err := b.sourceLayer()
		base.settle(layer, err)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		for _, system := range systems {
			img, err := b.image(groupCtx, system, base)
			switch {
			case err == nil:
				parts = append(parts, image.Part{System: system, Image: img})
			case errors.Is(err, binarycache.ErrNotFound) && slices.Contains(b.channel.Optional, system):
				b.log.Warn("left out: upstream does not have this system", "system", system.Nix, "error", err)
			default:
				return fmt.Errorf("%s: %w", system.Nix, err)
			}
		}
		return nil
	})
	return parts, group.Wait()
}

// takeSource downloads the archive of the commit and proves that it is the
// commit's tree.
func (b *build) takeSource(ctx context.Context) error {
	url := ArchiveURL(b.Config.Upstream, b.commit.Rev)
	tree, err := b.ReadSource(ctx, url, b.dir)
	if err != nil {
		return err
	}
	b.tree = tree
	if tree.TreeID != b.commit.Tree {
		tree.Close()
		return fmt.Errorf("%s: its git tree is %s, commit %s has the tree %s", url, tree.TreeID, b.commit.Rev, b.commit.Tree)
	}
	for _, name := range b.Config.Source.Names {
		info, err := SourceInfo(tree, name)
		if err != nil {
			return err
		}
		b.sources = append(b.sources, info)
	}
	b.log.Info("source", "storePath", b.sources[0].Path, "narHash", tree.NarHash.SRI(), "bytes", tree.NarSize)
	b.unpacked = filepath.Join(b.dir, "nixpkgs")
	return tree.Unpack(b.unpacked)
}

// ArchiveURL returns where the archive of a commit is.
func ArchiveURL(up config.Upstream, rev string) string {
	return up.Archive + "/" + up.Repository + "/archive/" + rev + ".tar.gz"
}

// ReadSource reads an archive of nixpkgs from a URL; dir holds its spool.
func (f *Factory) ReadSource(ctx context.Context, url, dir string) (*source.Tree, error) {
	body, err := f.Fetch.Open(ctx, url, maxArchive)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	task := f.Progress.Start("source", max(body.Size(), 0))
	defer task.Done()
	return source.Read(ctx, counted{body, task}, source.Options{Name: url, Dir: dir})
}

// maxArchive bounds the compressed archive. nixpkgs has about 50 MB.
const maxArchive = 1 << 30

// SourceInfo returns the path info of a tree under a store name: a
// content-addressed object without references, as fetchTarball makes it.
func SourceInfo(tree *source.Tree, name string) (nix.PathInfo, error) {
	p, err := tree.StorePath(name)
	if err != nil {
		return nix.PathInfo{}, err
	}
	return nix.PathInfo{
		Path:    p,
		NarHash: tree.NarHash,
		NarSize: tree.NarSize,
		CA:      "fixed:r:sha256:" + tree.NarHash.Base32(),
	}, nil
}

func (b *build) packer() layers.Packer {
	return layers.Packer{Dir: b.dir, Encoding: b.encoding()}
}

// sourceLayer returns the layer with the source, from a registry if one has it.
func (b *build) sourceLayer() (*layers.Layer, error) {
	key := layers.LinkedKey(b.encoding(), b.sources)
	if layer := b.found.layer(key); layer != nil {
		b.count(layer)
		return layer, nil
	}
	layer, err := b.packer().Linked(b.tree, b.sources)
	if err != nil {
		return nil, err
	}
	b.count(layer)
	return layer, nil
}

// describe collects what labels say of every system's image.
func (b *build) describe() image.Facts {
	// .version is a link to it in newer trees; a tree with neither still has
	// its date and commit.
	version, err := b.tree.ReadFile("lib/.version", 1<<10)
	if err != nil {
		version, _ = b.tree.ReadFile(".version", 1<<10)
	}
	return image.Facts{
		Channel:    b.channel.Name,
		Rev:        b.commit.Rev,
		Date:       b.commit.Date,
		Version:    strings.TrimSpace(string(version)),
		Recipe:     b.recipe,
		NarHash:    b.tree.NarHash,
		Repository: b.Config.Upstream.Repository,
		Extra:      b.Config.Labels,
	}
}

// image makes the image of one system.
func (b *build) image(ctx context.Context, system config.System, base *promise[*layers.Layer]) (v1.Image, error) {
	log := b.log.With("system", system.Nix)
	args := b.args(system)
	set, err := toolset.Evaluate(ctx, b.nix, b.Config.Image, filepath.Join(b.dir, "nix-"+system.Nix), args)
	if err != nil {
		return nil, fmt.Errorf("toolset: %w", err)
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
	stack, listings, err := b.pack(ctx, store, set, closed)
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
func (b *build) pack(ctx context.Context, store objects, set toolset.Toolset, closed []nix.PathInfo) ([]*layers.Layer, map[nix.StorePath][]string, error) {
	list := make(map[nix.StorePath]bool)
	for _, tool := range set.Tools {
		list[tool.Path] = true
	}
	groups := layers.Group(closed, layers.MaxClosureLayers)
	stack := make([]*layers.Layer, len(groups))
	listings := make(map[nix.StorePath][]string)
	var todo int64
	for i, objects := range groups {
		stack[i] = b.found.layerWith(layers.Key(b.encoding(), objects), objects, list)
		if stack[i] == nil {
			todo += closure.Size(objects)
		}
	}
	task := b.Progress.Start("layers", todo)
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
			listings[p] = b.found.listing(p)
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

var errAbandoned = errors.New("abandoned")

// promise is a value that one goroutine makes and others wait for.
type promise[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func newPromise[T any]() *promise[T] {
	return &promise[T]{done: make(chan struct{}), err: errAbandoned}
}

func (p *promise[T]) settle(value T, err error) {
	p.value, p.err = value, err
	close(p.done)
}

func (p *promise[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-p.done:
		return p.value, p.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
