package standin

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A Fixture is what a server serves: a folder of files, made once.
type Fixture struct {
	dir string
	doc document
}

// A document describes a fixture's folder, which besides it has:
// archives/<rev>.tar.gz, cache/ (the binary cache) and nixpkgs.git.
type document struct {
	PublicKey string            `json:"publicKey"`
	SecretKey string            `json:"secretKey"`
	Commits   map[string]Commit `json:"commits"` // by name of the change
	Paths     packagePaths      `json:"paths"`
}

const documentName = "fixture.json"

// packagePaths says where packages are: change -> system -> attribute -> store paths, default output first.
type packagePaths map[string]map[string]map[string][]string

// all returns every store path once, sorted.
func (p packagePaths) all() []string {
	var all []string
	for _, systems := range p {
		for _, attrs := range systems {
			for _, paths := range attrs {
				all = append(all, paths...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// load reads the fixture in a folder, which is complete if its document is there.
func load(dir string) (*Fixture, error) {
	file := filepath.Join(dir, documentName)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &Fixture{dir: dir}
	if err := json.Unmarshal(data, &f.doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	now := time.Now()
	os.Chtimes(file, now, now) // so that sweep keeps what is in use; another user's it may remove
	return f, nil
}

// path returns a path in the fixture's folder.
func (f *Fixture) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// Channels returns, for the channels nixos-26.05 and nixos-unstable, the commits
// each has pointed at or will point at, oldest first. They share one.
func (f *Fixture) Channels() map[string][]Commit {
	channels := map[string][]Commit{}
	for _, b := range channelBranches {
		channels[b.name] = f.commits(b)
	}
	return channels
}

func (f *Fixture) commits(b branch) []Commit {
	var commits []Commit
	for _, name := range b.commits {
		commits = append(commits, f.doc.Commits[name])
	}
	return commits
}

// Commit returns the commit of a change by its name: old, shared, release-doc,
// release-leaf, release-deep, next, next-doc, next-deep.
func (f *Fixture) Commit(change string) Commit { return f.doc.Commits[change] }

// Outputs returns the store paths of the packages of a revision for a system
// by attribute name, the default output first. All are in the binary cache.
func (f *Fixture) Outputs(rev, system string) map[string][]string {
	for name, c := range f.doc.Commits {
		if c.Rev == rev {
			return maps.Clone(f.doc.Paths[name][system])
		}
	}
	return nil
}

// PublicKey is the key that verifies the binary cache, as name:base64.
func (f *Fixture) PublicKey() string { return f.doc.PublicKey }

// SecretKey is the key that signed the binary cache, for tests that sign something else.
func (f *Fixture) SecretKey() string { return f.doc.SecretKey }

// CacheFolder is the folder of the binary cache. It belongs to all tests: read only.
func (f *Fixture) CacheFolder() string { return f.path("cache") }

// ArchiveFile is the archive of a revision, on disk.
func (f *Fixture) ArchiveFile(rev string) string { return f.path("archives", rev+".tar.gz") }
