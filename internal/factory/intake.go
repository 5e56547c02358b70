package factory

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/source"
)

// takeSource downloads the archive of the commit and proves that it is the
// commit's tree. The caller closes b.tree, which may be nil after an error.
func (b *build) takeSource(ctx context.Context) error {
	url := ArchiveURL(b.Config.Upstream, b.commit.Rev)
	tree, err := b.ReadSource(ctx, url, b.dir, b.channel.Name+" source")
	if err != nil {
		return err
	}
	b.tree = tree
	if tree.TreeID != b.commit.Tree {
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

// ReadSource reads an archive of nixpkgs from a URL; dir holds its spool, label
// is for the progress.
func (f *Factory) ReadSource(ctx context.Context, url, dir, label string) (*source.Tree, error) {
	body, err := f.Fetch.Open(ctx, url, maxArchive)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	task := f.Progress.Start(label, max(body.Size(), 0))
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

// sourceLayer returns the layer with the source, from a registry if one has it.
func (b *build) sourceLayer(ctx context.Context) (*layers.Layer, error) {
	key := layers.LinkedKey(b.encoding(), b.sources)
	if layer := b.found.layer(key); layer != nil {
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
