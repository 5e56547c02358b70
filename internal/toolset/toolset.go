// Package toolset turns an image folder, one nixpkgs and a system into what the
// image holds, by having Nix evaluate the folder's image.nix: store paths of
// tools, environment, small files and links.
//
// Nothing is built and nothing is written to a store. Every tool in a Toolset has
// a well-formed path; whether the path is anywhere to be had is not known yet.
package toolset

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Toolset is what image.nix says of an image. Only tools have to be there.
type Toolset struct {
	Tools   toolList `json:"tools"`   // in order of precedence: of two tools with the same file the first one's is linked
	Missing []string `json:"missing"` // optional tools that this nixpkgs does not have

	Env         map[string]string `json:"env"`         // with a PATH, if none is said
	Files       map[string]string `json:"files"`       // absolute path to text
	Links       map[string]string `json:"links"`       // absolute path to target
	Directories map[string]string `json:"directories"` // absolute path to octal mode
	Modes       map[string]string `json:"modes"`       // of files, absolute path to octal mode

	Entrypoint []string          `json:"entrypoint"`
	Cmd        []string          `json:"cmd"`
	WorkDir    string            `json:"workdir"`
	User       string            `json:"user"`       // uid or uid:gid; "" is root
	Ports      []string          `json:"ports"`      // as in 8080/tcp
	Volumes    []string          `json:"volumes"`    // absolute; the user's own, where no directory says otherwise
	StopSignal string            `json:"stopSignal"` // as in SIGINT; "" is SIGTERM
	Labels     map[string]string `json:"labels"`     // in the place of those that every image has
	Version    string            `json:"version"`    // that names the image; "" where that is the one of nixpkgs

	Nixpkgs  *bool `json:"nixpkgs"`  // see HasNixpkgs
	Database *bool `json:"database"` // see HasDatabase

	// Wanted are the tools that image.nix asks for, in order. An image folder
	// that does not say it cannot go without tools that fail to evaluate.
	Wanted []Wanted `json:"wanted"`

	Broken []Broken `json:"-"` // optional tools that were left out, as they fail to evaluate; they are missing
}

// HasNixpkgs tells whether the image has nixpkgs in its store. Without it, the
// image is the same for all commits that have the same tools.
func (t Toolset) HasNixpkgs() bool { return t.Nixpkgs == nil || *t.Nixpkgs }

// HasDatabase tells whether the image has a Nix database. By itself it has where it
// has nixpkgs.
func (t Toolset) HasDatabase() bool {
	if t.Database == nil {
		return t.HasNixpkgs()
	}
	return *t.Database
}

// Wanted is a tool that image.nix asks for.
type Wanted struct {
	Attr     string `json:"attr"`
	Required bool   `json:"required"`
}

// Broken is a tool that this nixpkgs has but cannot evaluate, and why.
type Broken struct {
	Attr string
	Err  error
}

// Args are the arguments of image.nix, all of them strings there.
type Args struct {
	Nixpkgs      string        // folder of the unpacked tree
	System       string        // as in x86_64-linux
	Source       nix.StorePath // the tree's store path under the name nixpkgs-src
	SourceAlias  nix.StorePath // and under the name source, or Source again
	NarHash      nix.Hash      // of the tree
	LastModified int64         // Unix seconds of the commit
	Rev          git.Rev
	Channel      string

	Without []string // optional tools to leave out
}

// Strings returns the arguments by the names that image.nix has for them.
func (a Args) Strings() map[string]string {
	all := map[string]string{
		"nixpkgs":      a.Nixpkgs,
		"system":       a.System,
		"source":       a.Source.String(),
		"sourceAlias":  a.SourceAlias.String(),
		"narHash":      a.NarHash.SRI(),
		"lastModified": strconv.FormatInt(a.LastModified, 10),
		"rev":          a.Rev.String(),
		"channel":      a.Channel,
	}
	if len(a.Without) > 0 {
		all["without"] = asJSON(a.Without)
	}
	return all
}

// asJSON is how image.nix takes a list.
func asJSON(attrs []string) string {
	data, err := json.Marshal(attrs)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Roots returns the store paths that the image needs: the tools' and those in
// any of its texts, except the paths in without (the source, which no cache is
// asked for). Sorted, without duplicates.
func (t Toolset) Roots(without ...nix.StorePath) []nix.StorePath {
	var roots []nix.StorePath
	for _, tool := range t.Tools {
		roots = append(roots, tool.Path)
	}
	for _, text := range t.texts() {
		roots = append(roots, nix.FindStorePaths(text.text)...)
	}
	roots = slices.DeleteFunc(roots, func(p nix.StorePath) bool { return slices.Contains(without, p) })
	slices.SortFunc(roots, nix.StorePath.Compare)
	return slices.Compact(roots)
}
