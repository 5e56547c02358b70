package standin

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/nixpkgs-factory/factory/internal/standin/debian"
)

// A change is one commit of the miniature nixpkgs, and what it did.
type change struct {
	name    string // by which later changes refer to it
	parent  string // "" for the first
	subject string
	author  person
	date    time.Time
	release string         // the content of lib/.version
	levels  map[string]int // patch levels of packages
	files   tree           // added or replaced
	without []string       // files that are left out
}

type person struct{ name, email, login string }

var (
	ada    = person{"Ada Example", "ada@example.org", "ada-example"}
	blaise = person{"Blaise Example", "blaise@example.org", "blaise-example"}
)

func on(month time.Month, day, hour, minute, second int) time.Time {
	return time.Date(2026, month, day, hour, minute, second, 0, time.UTC)
}

// changes has parents before children. The release branches off at "shared".
var changes = []change{
	{
		name: "old", author: ada, date: on(time.May, 18, 6, 12, 41),
		subject: "lib/minver: init", release: "26.05",
		without: []string{
			"pkgs/by-name/at/attic-client/package.nix",
			"pkgs/by-name/at/attic-server/atticadm.pl",
			"pkgs/by-name/at/attic-server/atticd.pl",
			"pkgs/by-name/at/attic-server/config.pl",
			"pkgs/by-name/at/attic-server/package.nix",
			fallbackPaths,
		},
	},
	{
		name: "shared", parent: "old", author: blaise, date: on(time.May, 22, 14, 3, 9),
		subject: "attic-client: init at 0.1.0", release: "26.05",
	},
	{
		name: "release-doc", parent: "shared", author: ada, date: on(time.May, 26, 9, 45, 0),
		subject: "doc: release notes for 26.05", release: "26.05",
		files: tree{"doc/release-notes.md": file("# 26.05\n\nThe first release with Attic.\n")},
	},
	{
		name: "release-leaf", parent: "release-doc", author: blaise, date: on(time.June, 2, 21, 30, 17),
		subject: "jq: bump", release: "26.05",
		files:  tree{"doc/release-notes.md": file("# 26.05\n\nThe first release with Attic.\n")},
		levels: map[string]int{"jq": 1},
	},
	{
		name: "release-deep", parent: "release-leaf", author: ada, date: on(time.June, 9, 3, 59, 58),
		subject: "zlib: bump", release: "26.05",
		files:  tree{"doc/release-notes.md": file("# 26.05\n\nThe first release with Attic.\n")},
		levels: map[string]int{"jq": 1, "zlib": 1},
	},
	{
		name: "next", parent: "shared", author: ada, date: on(time.May, 23, 0, 0, 1),
		subject: "lib: 26.11 is next; tmate: bump", release: "26.11",
		levels: map[string]int{"tmate": 1},
	},
	{
		name: "next-doc", parent: "next", author: blaise, date: on(time.May, 30, 11, 11, 11),
		subject: "doc: say how to contribute", release: "26.11",
		files:  tree{"doc/contributing.md": file("# Contributing\n\nSmall changes, please.\n")},
		levels: map[string]int{"tmate": 1},
	},
	{
		name: "next-deep", parent: "next-doc", author: ada, date: on(time.June, 12, 18, 20, 33),
		subject: "openssl: bump; hello: bump", release: "26.11",
		files:  tree{"doc/contributing.md": file("# Contributing\n\nSmall changes, please.\n")},
		levels: map[string]int{"tmate": 1, "openssl": 1, "hello": 1},
	},
}

// A branch of the upstream repository.
type branch struct {
	name    string
	commits []string // names of changes it pointed at, oldest first
	head    int      // index of the one it points at when a server starts
}

// channelBranches are what Channels tells of and SetHead moves.
var channelBranches = []branch{
	{name: "nixos-26.05", commits: []string{"old", "shared", "release-doc", "release-leaf", "release-deep"}, head: 2},
	{name: "nixos-unstable", commits: []string{"shared", "next", "next-doc", "next-deep"}, head: 1},
}

// otherBranches are there as in the real repository, and stay where they are.
var otherBranches = []branch{
	{name: "master", commits: []string{"next-deep"}},
	{name: "nixos-25.11", commits: []string{"old"}},
	{name: "nixos-26.05-small", commits: []string{"release-doc"}},
	{name: "nixos-unstable-small", commits: []string{"next"}},
	{name: "nixpkgs-26.05-darwin", commits: []string{"shared"}},
	{name: "nixpkgs-unstable", commits: []string{"next"}},
	{name: "release-26.05", commits: []string{"release-deep"}},
	{name: "staging", commits: []string{"next-deep"}},
}

// contents returns the tree of every change.
func contents(m debian.Manifest) (map[string]tree, error) {
	base, err := baseTree(m)
	if err != nil {
		return nil, err
	}
	trees := map[string]tree{}
	for _, c := range changes {
		t := maps.Clone(base)
		maps.Copy(t, c.files)
		for _, path := range c.without {
			if _, ok := t[path]; !ok {
				return nil, fmt.Errorf("change %s: there is no %s to leave out", c.name, path)
			}
			delete(t, path)
		}
		levels := c.levels
		if levels == nil {
			levels = map[string]int{}
		}
		data, err := json.Marshal(levels)
		if err != nil {
			return nil, err
		}
		t["pkgs/patch-levels.json"] = node{"100644", append(data, '\n')}
		t["lib/.version"] = file(c.release)
		trees[c.name] = t
	}
	return trees, nil
}
