package cycle

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// nixpkgs is the source of a revision: the tree that its commit names.
type nixpkgs struct {
	tree     *source.Tree
	objects  []nix.PathInfo // the tree under each of its store names
	unpacked string         // folder of the tree, for Nix
	clear    func()         // removes that; nil: it goes with the bench
	version  string         // of nixpkgs, as in "26.05"; "" where the tree does not say
}

// takeSource downloads the archive of a revision's commit and proves that it is the
// commit's tree. Which Nix it names it tells as soon as that has come.
func (f *Factory) takeSource(ctx context.Context, r revision, dir string, fallback *early, log *slog.Logger) (nixpkgs, error) {
	defer fallback.end()
	up := f.Config.Upstream
	url := source.ArchiveURL(up.Archive, up.Repository, r.commit.Rev)
	tree, err := source.Fetch(ctx, f.Fetch, url, source.Options{
		Dir: dir, Progress: f.Progress, Label: r.channel.Name + " source",
		Early: source.Early{Path: evaluator.FallbackFile, Most: evaluator.MaxFallbackFile, Take: fallback.take},
	})
	if err != nil {
		return nixpkgs{}, err
	}
	src := nixpkgs{tree: tree}
	if tree.TreeID != r.commit.Tree {
		err = fmt.Errorf("%s: its git tree is %s, commit %s has the tree %s", url, tree.TreeID, r.commit.Rev, r.commit.Tree)
	}
	if err == nil {
		src.objects, err = storeObjects(tree, f.Config.Source.Names)
	}
	if err == nil {
		log.Info("source", "storePath", src.objects[0].Path, "narHash", tree.NarHash.SRI(), "bytes", tree.NarSize)
		src.unpacked, src.clear, err = f.unpack(ctx, tree, dir, log)
	}
	if err != nil {
		tree.Close()
		return nixpkgs{}, err
	}
	src.version = versionOf(tree)
	return src, nil
}

// unpackable is a tree that Nix needs as files.
type unpackable interface {
	Footprint() (bytes, files int64)
	Unpack(dir string) error
}

// unpack writes the tree into memory, where there is ample room, and otherwise below
// dir: tens of thousands of small files cost some disks more than all the rest.
func (f *Factory) unpack(ctx context.Context, tree unpackable, dir string, log *slog.Logger) (folder string, clear func(), err error) {
	var need workdir.Need
	need.Bytes, need.Files = tree.Footprint()
	if made, release, err := workdir.MakeInMemory(ctx, f.Memory, need); err == nil {
		clear := func() {
			if err := release(); err != nil {
				f.Log.Warn("nixpkgs is left behind in memory", "error", err)
			}
		}
		folder = filepath.Join(made, "nixpkgs")
		if err = tree.Unpack(folder); err == nil {
			return folder, clear, nil
		}
		clear()
		log.Warn("nixpkgs is not in memory but on the disk", "error", err)
	} else {
		log.Debug("nixpkgs is not in memory but on the disk", "reason", err)
	}
	folder = filepath.Join(dir, "nixpkgs")
	return folder, nil, tree.Unpack(folder)
}

// close gives back what a source takes of memory and disk.
func (n nixpkgs) close() {
	if n.tree != nil {
		n.tree.Close()
	}
	if n.clear != nil {
		n.clear()
	}
}

func storeObjects(tree *source.Tree, names []string) ([]nix.PathInfo, error) {
	infos := make([]nix.PathInfo, len(names))
	for i, name := range names {
		var err error
		if infos[i], err = tree.PathInfo(name); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

func (n nixpkgs) paths() []nix.StorePath {
	list := make([]nix.StorePath, len(n.objects))
	for i, info := range n.objects {
		list[i] = info.Path
	}
	return list
}

// versionOf reads the version. .version is a link to lib/.version in newer trees; a
// tree with neither still has its date and commit.
func versionOf(tree *source.Tree) string {
	version, err := tree.ReadFile("lib/.version", 1<<10)
	if err != nil {
		version, _ = tree.ReadFile(".version", 1<<10)
	}
	return strings.TrimSpace(string(version))
}
