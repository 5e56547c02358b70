// Package grouping divides a closure into layers so that following a channel moves
// few bytes, both for those who know a layer by its digest and for classic Docker,
// which uses a layer again only when all layers below it are the same.
//
// The result depends on nothing but names, sizes and references, not on earlier
// images: the same commit has the same layers on every machine, also when all state
// is lost. What makes it stable is that little of its input changes: digests and
// versions are no part of it, and sizes count by the half power of two.
//
// # The model
//
// In Nix a path changes whenever something below it does. So a path changes when any
// of the packages in its closure has a new version, and a layer when any package in
// the closures of its paths has. Paths of one name, but for the version and what
// follows it, are outputs of one package.
//
// How often a package has a new version is not known. But channels hold back updates
// of what much else needs, to make them together, and leaves are updated at any time:
// a package that n others need is taken to change as often as 1/√(1+n) says. The sum
// of that over the packages below some paths is their risk.
//
// # The order
//
// Classic Docker pulls all layers above the lowest one that changed. With a layer for
// each path the bytes to be expected are the sum of each path's size times the risk of
// all paths up to it. That is the problem of scheduling jobs that have weights (sizes),
// durations (risks) and must wait for each other, where it does well to take first
// what has the most weight for its duration: of all closures, as far as their paths
// have no place yet, the one with the most bytes for its risk is next.
//
// # The layers
//
// At first each path is a layer. While there are too many, those two neighbours become
// one by which the bytes to be expected grow least: either is then pulled for the risk
// of both, by digest, and the lower one by chain, too.
//
// # An example
//
// Five paths, at most three layers. A package that nothing needs has the rate 256, with
// one user 181, with three 128. Closures have the bytes and the risk of all in them:
//
//	path   MiB  refers to   users  rate  closure
//	glibc   32              3      128   32 for 128
//	icu     32              1      181   32 for 181
//	zlib     1  glibc       1      181   33 for 309
//	nix     16  glibc icu   0      256   80 for 565
//	git      8  glibc zlib  0      256   41 for 565
//
// Most for its risk has glibc. Of the rest icu (32 for 181) is before nix, which has
// 48 for 437 with icu and 16 for 256 without; at last git has 9 for 437, zlib with it:
//
//	glibc  icu  nix  zlib  git
//
// To put zlib and git together adds what git alone adds, 256, twice to the MiB of zlib:
// 512, and nothing to git. For nix and zlib it would be 6,229, for glibc and icu
// 15,680, for icu and nix 24,576. Now nix and its upper neighbour would cost 17,917,
// so glibc and icu go together, and three layers are left:
//
//	glibc icu | nix | zlib git
package grouping

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Group divides a closure into at most limit layers, bottom first; a limit below one
// is one. Every path is in one of them, and each layer is sorted by store path. The
// order of the closure is of no effect.
func Group(closure []nix.PathInfo, limit int) [][]nix.PathInfo {
	g := newGraph(closure)
	layers := g.merge(g.order(), max(limit, 1))
	groups := make([][]nix.PathInfo, 0, len(layers))
	for _, l := range layers {
		group := make([]nix.PathInfo, 0, len(l.members))
		for _, i := range l.members {
			group = append(group, g.infos[i])
		}
		slices.SortFunc(group, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
		groups = append(groups, group)
	}
	return groups
}

// graph is a closure by index, what is referred to before what refers to it.
type graph struct {
	infos   []nix.PathInfo
	refs    [][]int  // lower indices
	users   [][]int  // higher indices
	needing []set    // of a path: the paths that need it, themselves or through others
	size    []uint64 // see weigh
	pkg     []int    // the package that a path is of
	rate    []uint64 // of a package: how often it changes, no unit
	share   []uint64 // of a path: its part of its package's rate
	closure []set    // of a path: the packages that it needs, with its own
}

func newGraph(closure []nix.PathInfo) *graph {
	g := &graph{infos: sorted(closure)}
	n := len(g.infos)
	g.refs, g.users, g.size, g.share = make([][]int, n), make([][]int, n), make([]uint64, n), make([]uint64, n)
	index := make(map[nix.StorePath]int, n)
	for i, info := range g.infos {
		index[info.Path] = i
		g.size[i] = weigh(info.NarSize)
	}
	for i, info := range g.infos {
		for _, ref := range info.References {
			// Of a circle, which only a hostile cache shows, one reference leads up.
			if at, ok := index[ref]; ok && at < i {
				g.refs[i] = append(g.refs[i], at)
				g.users[at] = append(g.users[at], i)
			}
		}
	}
	g.name()
	return g
}

// name finds the packages, their rates and what each path needs of them.
func (g *graph) name() {
	packages := make(map[string]int)
	var paths []uint64 // of each package
	for _, info := range g.infos {
		name := Package(info.Path.Name())
		at, known := packages[name]
		if !known {
			at = len(packages)
			packages[name] = at
			paths = append(paths, 0)
		}
		g.pkg = append(g.pkg, at)
		paths[at]++
	}
	g.rate = make([]uint64, len(packages))
	g.needing = g.above()
	for i, at := range g.pkg {
		g.share[i] = max(1, rateOf(g.needing[i].size())/paths[at])
		g.rate[at] += g.share[i]
	}
	for i, at := range g.pkg {
		closure := newSet(len(packages))
		for _, ref := range g.refs[i] {
			closure.join(g.closure[ref])
		}
		closure.add(at)
		g.closure = append(g.closure, closure)
	}
}

// above returns, of each path, the paths that need it, themselves or through others.
func (g *graph) above() []set {
	all := make([]set, len(g.infos))
	for i := len(all) - 1; i >= 0; i-- {
		all[i] = newSet(len(all))
		for _, user := range g.users[i] {
			all[i].add(user)
			all[i].join(all[user])
		}
	}
	return all
}

// rateOf returns 256/√(1+users), where 1+users counts as the power of two below it: a
// user more or less is seldom of effect.
func rateOf(users int) uint64 {
	steps := bits.Len(uint(1+users)) - 1
	if steps%2 == 1 {
		return max(1, uint64(181)>>(steps/2)) // 256/√2
	}
	return max(1, uint64(256)>>(steps/2))
}

// weigh returns a size in KiB, rounded to a half power of two: a new version of a
// package has seldom the size of the old one, and seldom quite another. In uint64 no
// product of sizes and rates overflows below some petabytes.
func weigh(bytes int64) uint64 {
	size := uint64(max(bytes>>10, 1))
	whole := uint64(1) << (bits.Len64(size) - 1)
	switch {
	case size >= whole*2-whole/3: // about 2^¾
		return whole * 2
	case size >= whole+whole/5: // about 2^¼
		return whole + whole*2/5
	}
	return whole
}

// Package cuts the version, and the output behind it, off a store path's name: from
// the first dash that a digit follows. builtins.parseDrvName takes any character but a
// letter for the beginning of a version; names that differ by it are rare.
func Package(name string) string {
	for i := range len(name) - 1 {
		if name[i] == '-' && name[i+1] >= '0' && name[i+1] <= '9' {
			return name[:i]
		}
	}
	return name
}

// sorted returns the closure with what is referred to first, else by name.
func sorted(closure []nix.PathInfo) []nix.PathInfo {
	byName := slices.Clone(closure)
	slices.SortFunc(byName, func(a, b nix.PathInfo) int {
		x, y := a.Path.Name(), b.Path.Name()
		return cmp.Or(strings.Compare(Package(x), Package(y)), strings.Compare(x, y), a.Path.Compare(b.Path))
	})
	index := make(map[nix.StorePath]int, len(byName))
	for i, info := range byName {
		index[info.Path] = i
	}
	done := make([]bool, len(byName))
	all := make([]nix.PathInfo, 0, len(byName))
	var visit func(i int)
	visit = func(i int) {
		done[i] = true
		refs := make([]int, 0, len(byName[i].References))
		for _, ref := range byName[i].References {
			if at, ok := index[ref]; ok {
				refs = append(refs, at)
			}
		}
		slices.Sort(refs)
		for _, at := range refs {
			if !done[at] {
				visit(at)
			}
		}
		all = append(all, byName[i])
	}
	for i := range byName {
		if !done[i] {
			visit(i)
		}
	}
	return all
}
