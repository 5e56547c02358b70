package factory

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// found is what earlier images, still in a registry, have that need not be
// made again.
type found struct {
	read     map[v1.Hash]bool // indexes that were read
	layers   map[string]*layers.Layer
	listings map[nix.StorePath][]string
}

func (f *found) layer(key string) *layers.Layer { return f.layers[key] }

func (f *found) listing(p nix.StorePath) []string { return f.listings[p] }

// layerWith returns the layer with a key, provided that the listing of each
// object in it that is wanted is known, too.
func (f *found) layerWith(key string, objects []nix.PathInfo, want map[nix.StorePath]bool) *layers.Layer {
	for _, o := range objects {
		if _, ok := f.listings[o.Path]; want[o.Path] && !ok {
			return nil
		}
	}
	return f.layers[key]
}

// lookBack reads the manifests of the channel's earlier images. It saves work
// and decides nothing: what cannot be read is made again.
func (b *build) lookBack(ctx context.Context) *found {
	f := &found{
		read:     make(map[v1.Hash]bool),
		layers:   make(map[string]*layers.Layer),
		listings: make(map[nix.StorePath][]string),
	}
	if b.fresh {
		return f
	}
	for _, p := range b.places {
		tags, last := b.earlierTags(p.repo)
		for _, tag := range tags {
			f.try(ctx, b.log, p.repo, tag)
		}
		if last == nil {
			b.tryEarlierHeads(ctx, f, p.repo)
		}
	}
	// Channels often meet on a commit: then the closure's and the source's
	// layers are in another repository of the same registry.
	for _, dest := range b.Config.Publish {
		for _, ch := range b.Config.Channels {
			if ch.Name == b.channel.Name {
				continue
			}
			if repo, err := b.Repository(dest, ch.Name); err == nil {
				f.try(ctx, b.log, repo, b.commit.Rev)
			}
		}
	}
	return f
}

// try reads an earlier image, and tells whether it is there.
func (f *found) try(ctx context.Context, log *slog.Logger, repo registry.Repository, tag string) bool {
	err := f.readTag(ctx, repo, tag)
	if err != nil && !errors.Is(err, registry.ErrNotFound) && ctx.Err() == nil {
		log.Warn("earlier image not used", "image", repo.Ref(tag), "error", err)
	}
	return err == nil
}

// earlierTags returns the tags of a repository that may share layers with what
// is being built: the commit's own under an older recipe, the moving tags, and
// the newest publication on record, nil if there is none.
func (b *build) earlierTags(repo registry.Repository) ([]string, *record.Publication) {
	tags := append([]string{b.commit.Rev}, b.channel.TagsFor(b.commit.Rev, b.commit.Date, "")...)
	publications, err := b.Store.Publications()
	if err != nil {
		return tags, nil
	}
	var last *record.Publication
	for i, p := range publications {
		if p.Channel == b.channel.Name && p.Image == repo.Ref(p.Rev) && (last == nil || p.Time.After(last.Time)) {
			last = &publications[i]
		}
	}
	if last != nil && !slices.Contains(tags, last.Rev) {
		tags = append(tags, last.Rev)
	}
	return tags, last
}

// tryEarlierHeads looks for the channel's newest image where nothing on record
// says which one that is: upstream says where the channel was.
func (b *build) tryEarlierHeads(ctx context.Context, f *found, repo registry.Repository) {
	moves, err := b.Heads.Moves(ctx, b.channel.Name, earlierHeads)
	if err != nil {
		return // it would have saved work
	}
	for _, move := range moves {
		if move.Rev != b.commit.Rev && f.try(ctx, b.log, repo, move.Rev) {
			return
		}
	}
}

// earlierHeads bounds how many heads are looked for. A channel moves a few
// times in a day, at the most.
const earlierHeads = 20

// readTag collects the layers and listings of the index under a tag.
func (f *found) readTag(ctx context.Context, repo registry.Repository, tag string) error {
	index, err := repo.Index(ctx, tag)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil || f.read[digest] {
		return err
	}
	f.read[digest] = true
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return err
		}
		if err := f.readImage(img); err != nil {
			return fmt.Errorf("%s: %w", desc.Digest, err)
		}
	}
	return nil
}

func (f *found) readImage(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	stack, err := img.Layers()
	if err != nil {
		return err
	}
	diffIDs := conf.RootFS.DiffIDs
	if len(stack) == 0 || len(stack) != len(manifest.Layers) || len(stack) != len(diffIDs) {
		return fmt.Errorf("%d layers, %d in the manifest, %d diffIDs", len(stack), len(manifest.Layers), len(diffIDs))
	}
	for i, desc := range manifest.Layers {
		key := desc.Annotations[layers.KeyAnnotation]
		if key == "" || f.layers[key] != nil {
			continue
		}
		layer, err := layers.Found(key, strings.Fields(desc.Annotations[layers.PathsAnnotation]), diffIDs[i], stack[i])
		if err != nil {
			return err
		}
		f.layers[key] = layer
	}
	return f.readInventory(stack[len(stack)-1])
}

// readInventory learns the tools' files from the topmost layer.
func (f *found) readInventory(top v1.Layer) error {
	rc, err := top.Uncompressed()
	if err != nil {
		return err
	}
	defer rc.Close()
	archive := tar.NewReader(rc)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return errors.New("no inventory in the topmost layer")
		}
		if err != nil {
			return err
		}
		if "/"+h.Name != image.InventoryPath {
			continue
		}
		var inventory image.Inventory
		if err := json.NewDecoder(io.LimitReader(archive, maxInventory)).Decode(&inventory); err != nil {
			return fmt.Errorf("%s: %w", image.InventoryPath, err)
		}
		for _, tool := range inventory.Tools {
			f.listings[tool.Path] = tool.Files
		}
		return nil
	}
}

const maxInventory = 16 << 20
