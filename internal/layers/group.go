package layers

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"regexp"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// MaxClosureLayers is how many layers the closure may take. With the source
// and the root file system an image has at most 64 layers, which leaves those
// who build on it half of what container engines allow (about 127).
const MaxClosureLayers = 62

// A path larger than ownLayer gets a layer of its own while there are some.
const ownLayer = 4 << 20

// Group divides a closure into at most limit groups, bottom layer first.
//
// Large paths stand alone, so that a change of one moves no other; there are
// at most two thirds of limit of these, the largest first. Every other path
// goes to the bucket that the digest of its package name (the name without
// its version) picks, so a new version stays in the bucket of the old one and
// a new package disturbs one bucket only.
//
// Groups are ordered by height in the reference graph: what depends on nothing
// lies at the bottom, because classic Docker storage knows a layer by all that
// lies below it. Ties are broken by package name and store path; the result
// does not depend on the order of the input.
func Group(closure []nix.PathInfo, limit int) [][]nix.PathInfo {
	if limit < 1 {
		limit = 1
	}
	bySize := slices.Clone(closure)
	slices.SortFunc(bySize, func(a, b nix.PathInfo) int {
		return cmp.Or(cmp.Compare(b.NarSize, a.NarSize), a.Path.Compare(b.Path))
	})
	alone := 0
	for alone < len(bySize) && alone < limit*2/3 && bySize[alone].NarSize >= ownLayer {
		alone++
	}
	if len(bySize) <= limit {
		alone = len(bySize)
	}

	buckets := make([][]nix.PathInfo, max(limit-alone, 0))
	for _, info := range bySize[alone:] {
		b := bucket(info.Path.Name(), min(len(buckets), maxBuckets))
		buckets[b] = append(buckets[b], info)
	}
	groups := make([][]nix.PathInfo, 0, limit)
	for _, info := range bySize[:alone] {
		groups = append(groups, []nix.PathInfo{info})
	}
	for _, b := range buckets {
		if len(b) > 0 {
			slices.SortFunc(b, func(x, y nix.PathInfo) int { return x.Path.Compare(y.Path) })
			groups = append(groups, b)
		}
	}

	heights := heightsOf(bySize)
	rank := make(map[nix.StorePath]int, len(groups))
	for _, g := range groups {
		top := 0
		for _, info := range g {
			top = max(top, heights[info.Path])
		}
		rank[g[0].Path] = top
	}
	slices.SortFunc(groups, func(a, b []nix.PathInfo) int {
		return cmp.Or(
			cmp.Compare(rank[a[0].Path], rank[b[0].Path]),
			cmp.Compare(packageName(a[0].Path.Name()), packageName(b[0].Path.Name())),
			a[0].Path.Compare(b[0].Path))
	})
	return groups
}

// Many small layers cost a request each and save little: small paths share
// at most this many.
const maxBuckets = 16

func bucket(name string, buckets int) int {
	sum := sha256.Sum256([]byte(packageName(name)))
	return int(binary.BigEndian.Uint32(sum[:4]) % uint32(buckets))
}

var version = regexp.MustCompile(`-[0-9].*$`)

// packageName cuts the version (and the output behind it) off a store path's
// name: from the first dash that a digit follows. builtins.parseDrvName takes any
// character but a letter for the beginning of a version; names that differ by it are
// rare, and the groups of published images stay as they are.
func packageName(name string) string {
	return version.ReplaceAllString(name, "")
}

// heightsOf returns for each path the length of the longest chain of
// references below it.
func heightsOf(closure []nix.PathInfo) map[nix.StorePath]int {
	refs := make(map[nix.StorePath][]nix.StorePath, len(closure))
	for _, info := range closure {
		refs[info.Path] = info.References
	}
	heights := make(map[nix.StorePath]int, len(closure))
	var height func(p nix.StorePath) int
	height = func(p nix.StorePath) int {
		if h, ok := heights[p]; ok {
			return h
		}
		heights[p] = 0 // ends the walk should a hostile cache show a cycle
		h := 0
		for _, ref := range refs[p] {
			if ref != p {
				h = max(h, height(ref)+1)
			}
		}
		heights[p] = h
		return h
	}
	for _, info := range closure {
		height(info.Path)
	}
	return heights
}
