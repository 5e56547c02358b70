// Package layersim compares ways to divide images into layers: it plays series of
// closures through each and adds up what a registry gets and what pullers fetch.
//
// The graphs are real and embedded: the closure of the miniature nixpkgs's base image
// and three of Debian's package index. A series is such a graph over time, changed by
// a pattern that is drawn, always alike, or by the release dates in Debian's
// changelogs. A package's name, version and the paths that it refers to make its store
// path, as in Nix, so a new version of one gives all that need it new paths.
//
// Not in the numbers are the layers that change with each commit however paths are
// grouped: nixpkgs itself and the root file system.
package layersim

import (
	"bytes"
	"embed"
	"fmt"
	"io"

	"github.com/nixpkgs-factory/factory/internal/grouping"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

//go:embed data/*.txt
var data embed.FS

// Strategies are those that are compared, by name. The last one is the factory's.
var Strategies = []struct {
	Name   string
	Groups Strategy
	Bound  bool // makes more layers than are allowed
}{
	{"one layer", oneLayer, false},
	{"a layer per path", layerPerPath, true},
	{"dockerTools, popularity", popularity, false},
	{"dockerTools, size first", sizeFirst, false},
	{"nixery", nixery, false},
	{"nix2container", nix2container, false},
	{"apko", apko, false},
	{Ours, func(s Step, limit int) [][]nix.PathInfo { return grouping.Group(s.Closure, limit) }, false},
}

// Ours is the name of the factory's strategy.
const Ours = "factory"

// Graphs reads the embedded graphs.
func Graphs() ([]Graph, error) {
	var all []Graph
	for _, name := range []string{"miniature", "tools", "service", "desktop"} {
		text, err := data.ReadFile("data/" + name + ".txt")
		if err != nil {
			return nil, err
		}
		g, err := ParseGraph(name, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// AllSeries makes the series of all graphs. Those of packages that Debian does not
// have under their names, the miniature's, have no recorded ones.
func AllSeries(seed uint64) ([]Series, error) {
	graphs, err := Graphs()
	if err != nil {
		return nil, err
	}
	text, err := data.ReadFile("data/releases.txt")
	if err != nil {
		return nil, err
	}
	releases, err := ParseReleases(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var all []Series
	for _, g := range graphs {
		for _, pattern := range []string{Stable, Unstable, Mass} {
			all = append(all, Generate(g, pattern, seed))
		}
		if g.Name == "miniature" {
			continue
		}
		for _, pattern := range []string{RealStable, RealUnstable, RealStaging} {
			all = append(all, Replay(g, pattern, releases))
		}
	}
	return all, nil
}

// WriteTables writes a Markdown table for each series.
func WriteTables(w io.Writer, all []Series, limit int) {
	for _, s := range all {
		fmt.Fprintf(w, "### %s, %s\n\n%d closures, the first with %d paths.\n\n", s.Graph, s.Pattern, len(s.Steps), len(s.Steps[0].Closure))
		fmt.Fprint(w, "| strategy | pushed | pulled by digest | pulled by chain | layers |\n|---|--:|--:|--:|--:|\n")
		for _, strategy := range Strategies {
			fmt.Fprintln(w, row(strategy.Name, Measure(s, strategy.Groups, limit)))
		}
		fmt.Fprintln(w)
	}
}

// row is a line of a table: bytes as a share of those of all images, in percent.
func row(name string, c Cost) string {
	share := func(bytes int64) float64 { return 100 * float64(bytes) / float64(c.Closure) }
	return fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %d |", name, share(c.Pushed), share(c.Digest), share(c.Chain), c.Layers)
}
