package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/source"
)

type prefetchOptions struct{ output }

// prefetched is the JSON form of the result.
type prefetched struct {
	Rev        git.Rev       `json:"rev,omitzero"`
	URL        string        `json:"url,omitempty"`
	StorePath  nix.StorePath `json:"storePath"`
	SourcePath nix.StorePath `json:"sourcePath"`
	Sha256     string        `json:"sha256"`
	NarHash    string        `json:"narHash"`
	NarSize    int64         `json:"narSize"`
	TreeID     git.TreeID    `json:"treeId"`
}

func (a *app) prefetchCommand() *cobra.Command {
	var o prefetchOptions
	cmd := &cobra.Command{
		Use:   "prefetch REV|URL|FILE",
		Short: "Print store path and sha256 of a nixpkgs archive",
		Long: `Reads a tar.gz archive of nixpkgs, from upstream (REV, a commit), from a URL or
from a FILE, and prints what Nix would make of it: the same store path and hash as
nix-prefetch-url --unpack, with the fetchTarball expression to paste. Nothing is
unpacked or written to a store.

The archive of a commit has to match the git tree that the API names for it.

JSON: {rev, url, storePath, sourcePath, sha256, narHash, narSize, treeId};
storePath is for the name nixpkgs-src, sourcePath for the name source.`,
		Example: `  factory prefetch 0123456789abcdef0123456789abcdef01234567
  factory prefetch https://github.com/NixOS/nixpkgs/archive/nixos-26.05.tar.gz
  factory prefetch --output json ./nixpkgs.tar.gz | jq -r .sha256`,
		Args: oneArgument("REV, URL or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.prefetch(cmd.Context(), args[0], o) },
	}
	o.addFlag(cmd)
	return cmd
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

func (a *app) prefetch(ctx context.Context, what string, o prefetchOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config(true)
	if err != nil {
		return err
	}
	a.doing = "reading " + what
	result, err := a.read(ctx, c, what)
	if err != nil {
		return err
	}
	a.close()
	if o.format == "json" {
		return writeJSON(a.stdout, result)
	}
	return a.printPrefetched(result)
}

// read reads the archive that the argument names: a file if there is one of
// that name.
func (a *app) read(ctx context.Context, c config.Config, what string) (prefetched, error) {
	file, err := os.Open(what)
	if err == nil {
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return prefetched{}, usageError{fmt.Errorf("%q is a folder: want an archive, .tar.gz", what)}
		}
		tree, err := source.Read(ctx, file, source.Options{Name: what})
		if err != nil {
			return prefetched{}, err
		}
		defer tree.Close()
		return describe(tree)
	}
	if u, err := url.Parse(what); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		return a.readURL(ctx, c, what, git.TreeID{})
	}
	if !commitPattern.MatchString(what) {
		return prefetched{}, usageError{noArchive(what, err)}
	}
	client, err := a.heads(c, a.fetch(), nil)
	if err != nil {
		return prefetched{}, err
	}
	commit, err := client.Commit(ctx, what)
	if unknown := (*heads.UnknownCommitError)(nil); errors.As(err, &unknown) {
		return prefetched{}, usageError{err}
	}
	if err != nil {
		return prefetched{}, err
	}
	result, err := a.readURL(ctx, c, source.ArchiveURL(c.Upstream.Archive, c.Upstream.Repository, commit.Rev), commit.Tree)
	result.Rev = commit.Rev
	return result, err
}

// noArchive says what is wrong with an argument that names no archive. It could
// not be opened as a file.
func noArchive(what string, opening error) error {
	switch {
	case !errors.Is(opening, fs.ErrNotExist):
		return opening
	case strings.ContainsAny(what, "/.") && !strings.Contains(what, "://"):
		return fmt.Errorf("%s: there is no such file", what)
	}
	return fmt.Errorf("%q is no file, no http(s) URL and no commit (7 to 40 hex digits)", what)
}

// readURL reads an archive from a URL. wantTree may be zero: not known.
func (a *app) readURL(ctx context.Context, c config.Config, url string, wantTree git.TreeID) (prefetched, error) {
	tree, err := source.Fetch(ctx, a.archives(c, a.fetch()), url, source.Options{Progress: a.bars(), Label: "source"})
	if err != nil {
		return prefetched{}, err
	}
	defer tree.Close()
	if !wantTree.IsZero() && tree.TreeID != wantTree {
		return prefetched{}, fmt.Errorf("%s: its git tree is %s, the commit has the tree %s", url, tree.TreeID, wantTree)
	}
	result, err := describe(tree)
	result.URL = url
	return result, err
}

func describe(tree *source.Tree) (prefetched, error) {
	p := prefetched{
		Sha256:  tree.NarHash.Base32(),
		NarHash: tree.NarHash.SRI(),
		NarSize: tree.NarSize,
		TreeID:  tree.TreeID,
	}
	var err error
	if p.StorePath, err = tree.StorePath(config.SourceName); err != nil {
		return p, err
	}
	p.SourcePath, err = tree.StorePath("source")
	return p, err
}

func (a *app) printPrefetched(p prefetched) error {
	rows := [][]string{
		{"store path", p.StorePath.String()},
		{"as \"source\"", p.SourcePath.String()},
		{"sha256", p.Sha256},
		{"narHash", p.NarHash},
		{"git tree", p.TreeID.String()},
	}
	if err := a.facts(rows); err != nil || p.URL == "" {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\n%s\n", fetchTarball(p.URL, p.Sha256))
	return err
}

// fetchTarball returns the expression that gives the image's own nixpkgs.
func fetchTarball(url, sha256 string) string {
	return strings.Join([]string{
		"fetchTarball {",
		fmt.Sprintf("  name = %q;", config.SourceName),
		fmt.Sprintf("  url = %q;", url),
		fmt.Sprintf("  sha256 = %q;", sha256),
		"}",
	}, "\n")
}
