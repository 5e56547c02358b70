package factory

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

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
	until    time.Time        // when looking ends
	read     map[v1.Hash]bool // indexes that were read
	lost     map[v1.Hash]bool // blobs that a registry has lost
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
// and decides nothing: what cannot be read is made again, and so is what cannot
// be read soon. forget ends the use of what was found.
func (b *build) lookBack(ctx context.Context) (f *found, forget context.CancelFunc) {
	f = &found{
		read:     make(map[v1.Hash]bool),
		lost:     make(map[v1.Hash]bool),
		layers:   make(map[string]*layers.Layer),
		listings: make(map[nix.StorePath][]string),
	}
	if b.fresh {
		return f, func() {}
	}
	ctx, forget = context.WithCancel(ctx)
	f.until = time.Now().Add(cmp.Or(b.LookBack, lookBackLimit))
	for _, p := range b.places {
		for _, digest := range p.lost {
			f.lost[digest] = true
		}
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
	return f, forget
}

// lookBackLimit bounds the time in which earlier images are looked for. A
// registry answers in much less; one that stalls costs no more than this.
const lookBackLimit = 20 * time.Second

// try reads an earlier image, and tells whether it is there. Layers of an image
// that was read are read later, too, so the time limit ends with the reading.
func (f *found) try(ctx context.Context, log *slog.Logger, repo registry.Repository, tag string) bool {
	left := time.Until(f.until)
	if left <= 0 {
		return false
	}
	reading, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(left, func() { cancel(errSlow) })
	part := &found{read: f.read, lost: f.lost, layers: maps.Clone(f.layers), listings: maps.Clone(f.listings)}
	err := part.readTag(reading, repo, tag)
	if timer.Stop() {
		f.layers, f.listings = part.layers, part.listings
	} else {
		err = errSlow
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) && ctx.Err() == nil {
		log.Warn("earlier image not used", "image", repo.Ref(tag), "error", err)
	}
	return err == nil
}

var errSlow = errors.New("the registry takes too long to answer")

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
	limited, cancel := context.WithDeadline(ctx, f.until)
	defer cancel()
	moves, err := b.Heads.Moves(limited, b.channel.Name, earlierHeads)
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
	var problems []error // one system's are no reason to do without the others
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err == nil {
			err = f.readImage(img)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", desc.Digest, err))
		}
	}
	return errors.Join(problems...)
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
		if key == "" || f.layers[key] != nil || f.lost[desc.Digest] {
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
	var inventory *image.Inventory
	err := layers.Read(top, func(h *tar.Header, content io.Reader) error {
		if "/"+h.Name != image.InventoryPath {
			return nil
		}
		inventory = new(image.Inventory)
		if err := json.NewDecoder(io.LimitReader(content, maxInventory)).Decode(inventory); err != nil {
			return fmt.Errorf("%s: %w", image.InventoryPath, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if inventory == nil {
		return errors.New("no inventory in the topmost layer")
	}
	for _, tool := range inventory.Tools {
		f.listings[tool.Path] = tool.Files
	}
	return nil
}

const maxInventory = 16 << 20
