package factory

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/source"
)

// takeSource downloads the archive of the commit and proves that it is the
// commit's tree. The caller closes b.tree, which may be nil after an error.
func (b *build) takeSource(ctx context.Context) error {
	up := b.Config.Upstream
	url := source.ArchiveURL(up.Archive, up.Repository, b.commit.Rev)
	tree, err := source.Fetch(ctx, b.Fetch, url, source.Options{Dir: b.dir, Progress: b.Progress, Label: b.channel.Name + " source"})
	if err != nil {
		return err
	}
	b.tree = tree
	if tree.TreeID != b.commit.Tree {
		return fmt.Errorf("%s: its git tree is %s, commit %s has the tree %s", url, tree.TreeID, b.commit.Rev, b.commit.Tree)
	}
	for _, name := range b.Config.Source.Names {
		info, err := tree.PathInfo(name)
		if err != nil {
			return err
		}
		b.sources = append(b.sources, info)
	}
	b.log.Info("source", "storePath", b.sources[0].Path, "narHash", tree.NarHash.SRI(), "bytes", tree.NarSize)
	b.unpacked = filepath.Join(b.dir, "nixpkgs")
	return tree.Unpack(b.unpacked)
}

// sourceLayer returns the layer with the source, from a registry if one has it.
func (b *build) sourceLayer(ctx context.Context) (*layers.Layer, error) {
	key := layers.LinkedKey(b.encoding(), b.sources)
	if layer := b.found.Layer(key); layer != nil {
		b.count(layer)
		return layer, nil
	}
	layer, err := b.packer().Linked(ctx, b.tree, b.sources)
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
