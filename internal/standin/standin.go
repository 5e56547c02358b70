// Package standin turns the Debian packages of this machine into an upstream
// for the factory: git history of a miniature nixpkgs with two channels,
// GitHub's API and archives for it, and a signed binary cache of its packages.
//
// Everything is made by the real programs (git, Nix), none by code of the factory,
// so that the two cannot agree on a mistake. The same Debian packages give the
// same commits and store paths on every machine; only the signing key differs.
package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Repository is the one that the stand-in has, as the real one is called.
const (
	RepositoryOwner = "NixOS"
	RepositoryName  = "nixpkgs"
	Repository      = RepositoryOwner + "/" + RepositoryName
)

// Options are for Prepare and Start. The zero value does.
type Options struct {
	CacheDir string    // Prepare: where fixtures are kept; "" is CacheDir()
	Log      io.Writer // Prepare: a line per step; nil for none
	Addr     string    // Start: host:port to listen on; "" is a free port of 127.0.0.1
	Token    string    // Start: the one token the API takes; "" takes any, or none

	BinaryCache string // Start: folder that is served as the binary cache; "" is the fixture's
}

// CacheDir is where fixtures are kept: $FACTORY_TEST_CACHE,
// else factory-standin in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("FACTORY_TEST_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "factory-standin"), err
}

// Prepare returns the fixture for this machine's Debian packages, and makes it
// if it is not there. Processes that want the same one at the same time wait for
// the first. The machine's /nix is neither read nor written.
func Prepare(ctx context.Context, o Options) (*Fixture, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	cache, err := cacheFolder(o.CacheDir)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(cache)
	if err != nil {
		return nil, err
	}
	trees, err := contents(m)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "fixture-"+key(trees))
	f, err := load(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"), o.Log)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f, err := load(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	sweep(cache)
	if err := build(ctx, dir, trees, o.Log); err != nil {
		return nil, err
	}
	return load(dir)
}

// cacheFolder makes the folder where fixtures are kept, absolute as Nix wants it.
func cacheFolder(dir string) (string, error) {
	if dir == "" {
		d, err := CacheDir()
		if err != nil {
			return "", err
		}
		dir = d
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// build makes the fixture in a folder beside dir, which it becomes when complete.
func build(ctx context.Context, dir string, trees map[string]tree, log io.Writer) error {
	fmt.Fprintf(log, "stand-in: making the upstream in %s, once\n", dir)
	work, err := os.MkdirTemp(filepath.Dir(dir), unfinished+"*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	s := &steps{log: log, start: time.Now()}
	f := &Fixture{dir: filepath.Join(work, "fixture")}
	for _, d := range []string{"archives", "cache"} {
		if err := os.MkdirAll(f.path(d), 0o755); err != nil {
			return err
		}
	}
	store, err := newPrivateStore(filepath.Join(work, "store"))
	if err != nil {
		return err
	}
	if err := store.nameNix(ctx, trees); err != nil {
		return err
	}
	if err := f.makeHistory(ctx, trees, s); err != nil {
		return err
	}
	if err := f.makePackages(ctx, store, work, s); err != nil {
		return err
	}
	data, err := json.MarshalIndent(f.doc, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path(documentName), data, 0o644); err != nil {
		return err
	}
	return os.Rename(f.dir, dir)
}

func (f *Fixture) makeHistory(ctx context.Context, trees map[string]tree, s *steps) (err error) {
	repo := f.path("nixpkgs.git")
	if f.doc.Commits, err = commitAll(ctx, repo, trees); err != nil {
		return err
	}
	if err := archiveAll(ctx, repo, f.path("archives"), f.doc.Commits); err != nil {
		return err
	}
	s.done("%d commits of nixpkgs", len(f.doc.Commits))
	return nil
}

func (f *Fixture) makePackages(ctx context.Context, store privateStore, work string, s *steps) (err error) {
	trees := filepath.Join(work, "trees")
	if err := unpackAll(ctx, f.path("archives"), trees, f.doc.Commits); err != nil {
		return err
	}
	if f.doc.Paths, err = store.build(ctx, trees); err != nil {
		return err
	}
	all := f.doc.Paths.all()
	s.done("%d store paths built", len(all))
	if f.doc.SecretKey, f.doc.PublicKey, err = store.newKey(ctx); err != nil {
		return err
	}
	if err := store.copyTo(ctx, f.CacheFolder(), all); err != nil {
		return err
	}
	s.done("binary cache signed by %s", keyName)
	return nil
}

// unpackAll unpacks the archive of every commit to <dir>/<name of its change>.
func unpackAll(ctx context.Context, archives, dir string, commits map[string]Commit) error {
	for _, c := range commits {
		to := filepath.Join(dir, c.Change)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		_, err := command{name: "tar", args: []string{
			"--extract", "--file", filepath.Join(archives, c.Rev+".tar.gz"),
			"--directory", to, "--strip-components=1", "--exclude=pkgs/test",
		}}.run(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

// steps reports what has been done and how long it took.
type steps struct {
	log   io.Writer
	start time.Time
}

func (s *steps) done(format string, args ...any) {
	now := time.Now()
	fmt.Fprintf(s.log, "stand-in: %s (%.1f s)\n", fmt.Sprintf(format, args...), now.Sub(s.start).Seconds())
	s.start = now
}
