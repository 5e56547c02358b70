// Package toolset turns an image folder, one nixpkgs and a system into what the
// image holds, by having Nix evaluate the folder's image.nix: store paths of
// tools, environment, small files and links.
//
// Nothing is built and nothing is written to a store. Every tool in a Toolset has
// a well-formed path; whether the path is anywhere to be had is not known yet.
package toolset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Toolset is what image.nix says of an image.
type Toolset struct {
	Tools   []Tool   `json:"tools"`   // in order of precedence: of two tools with the same file the first one's is linked
	Missing []string `json:"missing"` // optional tools that this nixpkgs does not have

	Env         map[string]string `json:"env"`
	Files       map[string]string `json:"files"`       // absolute path to text
	Links       map[string]string `json:"links"`       // absolute path to target
	Directories map[string]string `json:"directories"` // absolute path to octal mode
	Modes       map[string]string `json:"modes"`       // of files, absolute path to octal mode
	Cmd         []string          `json:"cmd"`
	WorkDir     string            `json:"workdir"`

	// Wanted are the tools that image.nix asks for, in order. An image folder
	// that does not say it cannot go without tools that fail to evaluate.
	Wanted []Wanted `json:"wanted"`

	Broken []Broken `json:"-"` // optional tools that were left out, as they fail to evaluate; they are missing
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

// Tool is a package whose files are linked below /nix/profile.
type Tool struct {
	Attr    string        `json:"attr"`
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Path    nix.StorePath `json:"path"`
	DrvPath string        `json:"drvPath"`
	Output  string        `json:"output"`
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
		all["without"] = list(a.Without)
	}
	return all
}

// list is how image.nix takes a list: as JSON.
func list(attrs []string) string {
	data, err := json.Marshal(attrs)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Parse reads what image.nix evaluated to and checks it.
func Parse(data []byte) (Toolset, error) {
	var set Toolset
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set); err != nil {
		return Toolset{}, err
	}
	if len(set.Tools) == 0 {
		return Toolset{}, errors.New("no tools")
	}
	if len(set.Tools) > maxTools {
		return Toolset{}, fmt.Errorf("%d tools, more than %d", len(set.Tools), maxTools)
	}
	for i, t := range set.Tools {
		if t.Attr == "" || t.Path.IsZero() {
			return Toolset{}, fmt.Errorf("tools[%d]: want attr and path", i)
		}
	}
	return set, nil
}

// maxTools bounds how many there are: caches are asked for all of them at once,
// and the tree has a say in the number.
const maxTools = 1000

// Roots returns the store paths that the image needs: the tools' and those in
// the environment, files and links, except the paths in without (the source,
// which no cache is asked for). Sorted, without duplicates.
func (t Toolset) Roots(without ...nix.StorePath) []nix.StorePath {
	var roots []nix.StorePath
	for _, tool := range t.Tools {
		roots = append(roots, tool.Path)
	}
	for _, texts := range []map[string]string{t.Env, t.Files, t.Links} {
		for _, text := range texts {
			roots = append(roots, nix.FindStorePaths(text)...)
		}
	}
	roots = slices.DeleteFunc(roots, func(p nix.StorePath) bool { return slices.Contains(without, p) })
	slices.SortFunc(roots, nix.StorePath.Compare)
	return slices.Compact(roots)
}
