package source

import (
	"context"
	"errors"
	"io"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
)

// ArchiveURL returns where the archive of a commit is: base is the server's, as
// in https://github.com, repository has an owner and a name.
func ArchiveURL(base, repository string, rev git.Rev) string {
	return base + "/" + repository + "/archive/" + rev.String() + ".tar.gz"
}

// maxArchive bounds the compressed archive. nixpkgs has about 50 MB.
const maxArchive = 1 << 30

// tries are how often an archive is fetched that does not come to its end.
const tries = 3

// Fetch reads the archive at a URL, which errors begin with. One that ends too early
// is fetched again, from its start: servers make archives when they are asked for,
// and say neither how long one is nor whether the next one is the same; and what lies
// between passes on what it has of one that broke off.
func Fetch(ctx context.Context, client *fetch.Client, url string, opts Options) (*Tree, error) {
	for try := 1; ; try++ {
		tree, err := fetchOnce(ctx, client, url, opts)
		if try == tries || !endedEarly(err) || ctx.Err() != nil {
			return tree, err
		}
	}
}

// endedEarly tells whether an archive is worth to be fetched from its start. What the
// client gave up after tries of its own is not.
func endedEarly(err error) bool {
	var request *fetch.Error
	return errors.Is(err, fetch.ErrChanged) || errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &request)
}

func fetchOnce(ctx context.Context, client *fetch.Client, url string, opts Options) (*Tree, error) {
	body, err := client.Open(ctx, url, maxArchive)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	opts.Name = url
	if opts.Progress == nil {
		opts.Progress = progress.Silent{}
	}
	task := opts.Progress.Start(opts.Label, max(body.Size(), 0))
	defer task.Done()
	return Read(ctx, progress.Count(body, task), opts)
}

// PathInfo returns the path info of the tree under a store name: a
// content-addressed object without references, as fetchTarball makes it.
func (t *Tree) PathInfo(name string) (nix.PathInfo, error) {
	p, err := t.StorePath(name)
	if err != nil {
		return nix.PathInfo{}, err
	}
	return nix.PathInfo{
		Path:    p,
		NarHash: t.NarHash,
		NarSize: t.NarSize,
		CA:      "fixed:r:sha256:" + t.NarHash.Base32(),
	}, nil
}
