// Package toolset asks Nix which tools an image holds: it evaluates the image
// folder's image.nix against one nixpkgs for one system.
//
// Nothing is built and nothing is written to a store. The result is plain data:
// store paths, environment, small files and links.
package toolset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixcli"
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
	Rev          string
	Channel      string
}

// Strings returns the arguments by the names that image.nix has for them.
func (a Args) Strings() map[string]string {
	return map[string]string{
		"nixpkgs":      a.Nixpkgs,
		"system":       a.System,
		"source":       a.Source.String(),
		"sourceAlias":  a.SourceAlias.String(),
		"narHash":      a.NarHash.SRI(),
		"lastModified": strconv.FormatInt(a.LastModified, 10),
		"rev":          a.Rev,
		"channel":      a.Channel,
	}
}

// VersionError says that the Nix of this machine is too old for a nixpkgs.
type VersionError struct{ Found, Wanted string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this nixpkgs needs Nix %s or newer to be evaluated, found Nix %s", e.Wanted, e.Found)
}

// Evaluate evaluates image.nix in the folder image. What Nix needs to write
// goes into the folder scratch.
func Evaluate(ctx context.Context, cli nixcli.Nix, image, scratch string, args Args) (Toolset, error) {
	if err := checkVersion(cli.Version, args.Nixpkgs); err != nil {
		return Toolset{}, err
	}
	file, err := filepath.Abs(filepath.Join(image, "image.nix"))
	if err != nil {
		return Toolset{}, err
	}
	out, err := cli.Eval(ctx, scratch, file, args.Strings())
	if err != nil {
		return Toolset{}, err
	}
	set, err := Parse(out)
	if err != nil {
		return Toolset{}, fmt.Errorf("%s: %w", file, err)
	}
	return set, nil
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
	for i, t := range set.Tools {
		if t.Attr == "" || t.Path.IsZero() {
			return Toolset{}, fmt.Errorf("tools[%d]: want attr and path", i)
		}
	}
	return set, nil
}

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

var (
	comment = regexp.MustCompile(`(?m)#.*$`)
	literal = regexp.MustCompile(`"([0-9]+(?:\.[0-9]+)*)"`)
)

// checkVersion reads where nixpkgs says which Nix it wants: lib/minver.nix, or
// lib/minfeatures.nix in newer trees. A tree without them wants nothing.
func checkVersion(found, nixpkgs string) error {
	for _, name := range []string{"minver.nix", "minfeatures.nix"} {
		text, err := os.ReadFile(filepath.Join(nixpkgs, "lib", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m := literal.FindSubmatch(comment.ReplaceAll(text, nil))
		if m == nil {
			continue // evaluation itself will say what is wanted
		}
		if wanted := string(m[1]); older(found, wanted) {
			return &VersionError{Found: found, Wanted: wanted}
		}
	}
	return nil
}

var number = regexp.MustCompile(`^[0-9]+`)

// older compares versions number by number; what is not a number ends it.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range bs {
		var x int
		if i < len(as) {
			x, _ = strconv.Atoi(number.FindString(as[i]))
		}
		if y, _ := strconv.Atoi(bs[i]); x != y {
			return x < y
		}
	}
	return false
}
