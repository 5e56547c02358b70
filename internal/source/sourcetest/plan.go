package sourcetest

import (
	"fmt"
	"math"
	"strings"
)

// file is a member that is to be written.
type file struct {
	path       string // below the top-level directory
	target     string // of a symbolic link
	executable bool
	size       int // about
	write      func(g *generator, name string, size int)
}

// bigShare is the part of all bytes that is in the files of bigFiles.
const bigShare = 0.3

// plan chooses names, kinds and sizes. The proportions are roughly those of nixpkgs:
// almost half of the files are packages in pkgs/by-name, a tenth are not Nix,
// and a few files that programs wrote hold a good part of the bytes.
func (g *generator) plan(o Options) []file {
	big := bigFiles()
	seen := map[string]bool{}
	var files []file
	for len(big)+len(files) < o.Files {
		for _, f := range g.someFiles() {
			if !seen[f.path] && len(big)+len(files) < o.Files {
				seen[f.path] = true
				files = append(files, f)
			}
		}
	}
	scale(big, bigShare*float64(o.Bytes))
	scale(files, (1-bigShare)*float64(o.Bytes))
	return append(big, files...)
}

// scale changes sizes in proportion so that they add up to about total.
func scale(files []file, total float64) {
	sum := 0
	for _, f := range files {
		sum += f.size
	}
	for i := range files {
		files[i].size = int(total * float64(files[i].size) / float64(sum))
	}
}

// bigFiles are the largest files, with sizes in proportion to each other, and what every archive has.
func bigFiles() []file {
	return []file{
		{path: "pkgs/development/haskell-modules/hackage-packages.nix", size: 300, write: (*generator).packageSet},
		{path: "pkgs/development/r-modules/cran-packages.nix", size: 90, write: (*generator).packageSet},
		{path: "pkgs/development/perl-modules/perl-packages.nix", size: 45, write: (*generator).packageSet},
		{path: "pkgs/applications/editors/emacs/elisp-packages/recipes-archive-melpa.json", size: 30, write: (*generator).lockFile},
		{path: "pkgs/applications/editors/vim/plugins/generated.nix", size: 30, write: (*generator).packageSet},
		{path: "pkgs/tools/typesetting/tex/texlive/tlpdb.nix", size: 70, write: (*generator).packageSet},
		{path: "pkgs/top-level/all-packages.nix", size: 15, write: (*generator).packageSet},
		{path: "maintainers/maintainer-list.nix", size: 15, write: (*generator).packageSet},
		{path: "doc/release-notes.md", size: 10, write: (*generator).prose},
		{path: ".version", target: "lib/.version"},
		{path: "lib/.version", size: 1, write: (*generator).prose},
	}
}

// someFiles are the files of one package, module or test.
func (g *generator) someFiles() []file {
	name := g.name()
	expression := file{size: g.size(1500), write: (*generator).expression}
	switch p := g.rng.IntN(100); {
	case p < 42:
		dir := fmt.Sprintf("pkgs/by-name/%s/%s/", name[:2], name)
		expression.path = dir + "package.nix"
		return append(g.extras(dir), expression)
	case p < 65:
		dir := strings.Join([]string{"pkgs", g.area(), g.area(), name, ""}, "/")
		expression.path = dir + "default.nix"
		return append(g.extras(dir), expression)
	case p < 83:
		expression.path = fmt.Sprintf("pkgs/development/%s-modules/%s/default.nix", g.area(), name)
		return []file{expression}
	case p < 92:
		return []file{{path: fmt.Sprintf("nixos/modules/%s/%s/%s.nix", g.area(), g.area(), name), size: g.size(5000), write: (*generator).module}}
	case p < 96:
		return []file{{path: fmt.Sprintf("nixos/tests/%s.nix", name), size: g.size(2500), write: (*generator).module}}
	case p < 98:
		return []file{{path: fmt.Sprintf("doc/%s/%s.section.md", g.area(), name), size: g.size(6000), write: (*generator).prose}}
	}
	return []file{{path: fmt.Sprintf("nixos/modules/%s/%s.json", g.area(), name), target: "../" + g.area() + "/" + g.name() + ".json"}}
}

// extras are the files that lie beside the expression of some packages.
func (g *generator) extras(dir string) []file {
	var files []file
	if g.rng.IntN(12) == 0 {
		files = append(files, file{path: dir + "update.sh", size: g.size(700), executable: true, write: (*generator).prose})
	}
	if g.rng.IntN(9) == 0 {
		files = append(files, file{path: dir + g.name() + "-" + g.name() + ".patch", size: g.size(2500), write: (*generator).patch})
	}
	if g.rng.IntN(60) == 0 {
		files = append(files, file{path: dir + "deps.json", size: g.size(15_000), write: (*generator).lockFile})
	}
	if g.rng.IntN(400) == 0 { // a path that does not fit into the header of a tar member
		deep := strings.Repeat(g.name()+"-/", 8+g.rng.IntN(12))
		files = append(files, file{path: dir + deep + "default.nix", size: g.size(500), write: (*generator).expression})
	}
	return files
}

// size draws from a long-tailed distribution around a median.
func (g *generator) size(median float64) int {
	return int(median * math.Exp(0.9*g.rng.NormFloat64()))
}

// area is one of few names of directories.
func (g *generator) area() string {
	return g.words[20+g.rng.IntN(40)]
}

// name is one of many names of packages; some begin with another one, which is where git's order is not that of a NAR.
func (g *generator) name() string {
	name := g.words[g.rng.IntN(len(g.words))]
	for g.rng.IntN(5) < 3 {
		name += "-" + g.words[g.rng.IntN(len(g.words))]
	}
	return name
}
