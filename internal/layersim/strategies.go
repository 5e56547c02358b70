package layersim

import (
	"cmp"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Strategy divides a closure into layers, bottom first.
type Strategy func(step Step, limit int) [][]nix.PathInfo

// dag is a closure by index, sorted so that what is referred to comes first.
type dag struct {
	infos []nix.PathInfo
	refs  [][]int  // without the path's own
	users [][]int  // the other way
	below [][]bool // below[i][j]: i needs j, or is j
}

func newDAG(closure []nix.PathInfo) dag {
	d := dag{infos: make([]nix.PathInfo, 0, len(closure))}
	byPath := make(map[nix.StorePath]nix.PathInfo)
	for _, info := range closure {
		byPath[info.Path] = info
	}
	index := make(map[nix.StorePath]int)
	var visit func(info nix.PathInfo) int
	visit = func(info nix.PathInfo) int {
		if at, done := index[info.Path]; done {
			return at
		}
		var refs []int
		for _, ref := range info.References {
			if ref != info.Path {
				refs = append(refs, visit(byPath[ref]))
			}
		}
		index[info.Path] = len(d.infos)
		d.infos = append(d.infos, info)
		d.refs = append(d.refs, refs)
		return len(d.infos) - 1
	}
	for _, info := range closure {
		visit(info)
	}
	d.users = make([][]int, len(d.infos))
	for i, refs := range d.refs {
		below := make([]bool, len(d.infos))
		below[i] = true
		for _, ref := range refs {
			d.users[ref] = append(d.users[ref], i)
			for j, is := range d.below[ref] {
				below[j] = below[j] || is
			}
		}
		d.below = append(d.below, below)
	}
	return d
}

func (d dag) name(i int) string { return d.infos[i].Path.Name() }

// order returns all indices, sorted; ties are broken by name and path.
func (d dag) order(by func(a, b int) int) []int {
	all := make([]int, len(d.infos))
	for i := range all {
		all[i] = i
	}
	slices.SortFunc(all, func(a, b int) int {
		return cmp.Or(by(a, b), strings.Compare(d.name(a), d.name(b)), d.infos[a].Path.Compare(d.infos[b].Path))
	})
	return all
}

// height is the length of the longest way down.
func (d dag) heights() []int {
	h := make([]int, len(d.infos))
	for i, refs := range d.refs {
		for _, ref := range refs {
			h[i] = max(h[i], h[ref]+1)
		}
	}
	return h
}

// closureSize is the installed size of what a path needs, and of itself.
func (d dag) closureSize(i int) (size int64) {
	for j, is := range d.below[i] {
		if is {
			size += d.infos[j].NarSize
		}
	}
	return size
}

// firstAlone gives each of the first paths a layer, and the rest one.
func (d dag) firstAlone(order []int, limit int) [][]nix.PathInfo {
	var groups [][]nix.PathInfo
	for n, i := range order {
		if n < limit {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], d.infos[i])
	}
	sortLast(groups)
	return groups
}

// sortLast gives the layer of the rest an order that ranks do not disturb.
func sortLast(groups [][]nix.PathInfo) {
	if len(groups) > 0 {
		sortPaths(groups[len(groups)-1])
	}
}

func sortPaths(group []nix.PathInfo) {
	slices.SortFunc(group, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
}

// oneLayer is what dockerTools.buildImage makes.
func oneLayer(step Step, _ int) [][]nix.PathInfo {
	return [][]nix.PathInfo{step.Closure}
}

// layerPerPath is beyond what engines allow: a bound for bytes by digest.
func layerPerPath(step Step, _ int) [][]nix.PathInfo {
	d := newDAG(step.Closure)
	h := d.heights()
	return d.firstAlone(d.order(func(a, b int) int { return cmp.Compare(h[a], h[b]) }), len(d.infos))
}

// popularity is the contest of dockerTools.buildLayeredImage: a path counts once for
// each path that refers to it, and again on each way down from the roots.
func popularity(step Step, limit int) [][]nix.PathInfo {
	d := newDAG(step.Closure)
	score := make([]float64, len(d.infos))
	for u := range d.infos {
		pop := make([]float64, len(d.infos)) // of u, seen from each path
		for v := u + 1; v < len(d.infos); v++ {
			pop[v] = seen(d, pop, u, d.refs[v])
		}
		var roots []int
		for v := range d.infos {
			if len(d.users[v]) == 0 {
				roots = append(roots, v)
			}
		}
		score[u] = seen(d, pop, u, roots)
	}
	return d.firstAlone(d.order(func(a, b int) int { return cmp.Compare(score[b], score[a]) }), limit)
}

func seen(d dag, pop []float64, u int, children []int) (sum float64) {
	for _, c := range children {
		if c == u {
			sum++
		} else if d.below[c][u] {
			sum += pop[c] + 1
		}
	}
	return sum
}

// nix2container counts the ways down to a path. Ties are broken by store path.
func nix2container(step Step, limit int) [][]nix.PathInfo {
	d := newDAG(step.Closure)
	pop := make([]float64, len(d.infos))
	for i := len(pop) - 1; i >= 0; i-- {
		pop[i]++
		for _, ref := range d.refs[i] {
			pop[ref] += pop[i]
		}
	}
	order := d.order(func(a, b int) int {
		return cmp.Or(cmp.Compare(pop[b], pop[a]), d.infos[a].Path.Compare(d.infos[b].Path))
	})
	return d.firstAlone(order, limit)
}

// sizeFirst is the automatic layering of dockerTools since 2025: the largest paths
// are primaries; paths below the same set of primaries share a layer; there are as
// many primaries as give no more layers than allowed.
func sizeFirst(step Step, limit int) [][]nix.PathInfo {
	d := newDAG(step.Closure)
	bySize := d.order(func(a, b int) int { return cmp.Compare(d.infos[b].NarSize, d.infos[a].NarSize) })
	primary := make([]bool, len(d.infos))
	best := [][]int{bySize}
	for _, p := range bySize {
		primary[p] = true
		groups := d.byPrimaries(primary)
		if len(groups) > limit {
			break
		}
		best = groups
	}
	size := make(map[int]int64)
	for _, g := range best {
		for j := range d.infos {
			if slices.ContainsFunc(g, func(i int) bool { return d.below[i][j] }) {
				size[g[0]] += d.infos[j].NarSize
			}
		}
	}
	slices.SortFunc(best, func(a, b []int) int {
		return cmp.Or(cmp.Compare(size[a[0]], size[b[0]]), strings.Compare(d.name(a[0]), d.name(b[0])))
	})
	return d.groups(best)
}

// byPrimaries groups paths by the lowest primaries above them.
func (d dag) byPrimaries(primary []bool) [][]int {
	byLabel := make(map[string]int)
	var groups [][]int
	labels := make([]map[int]bool, len(d.infos))
	for i := len(d.infos) - 1; i >= 0; i-- {
		label := make(map[int]bool)
		if primary[i] {
			label[i] = true
		} else {
			for _, user := range d.users[i] {
				for p := range labels[user] {
					label[p] = true
				}
			}
			for p := range label {
				for q := range label {
					if p != q && d.below[p][q] {
						delete(label, p) // q lies between
					}
				}
			}
		}
		labels[i] = label
		var key strings.Builder
		for p := range d.infos {
			if label[p] {
				key.WriteString(d.infos[p].Path.Digest())
			}
		}
		at, ok := byLabel[key.String()]
		if !ok {
			at = len(groups)
			byLabel[key.String()] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}

// groups are the infos of indices, sorted within each group.
func (d dag) groups(indices [][]int) [][]nix.PathInfo {
	groups := make([][]nix.PathInfo, 0, len(indices))
	for _, g := range indices {
		group := make([]nix.PathInfo, 0, len(g))
		for _, i := range g {
			group = append(group, d.infos[i])
		}
		sortPaths(group)
		groups = append(groups, group)
	}
	return groups
}

// nixery makes a layer of each subtree of the dominator tree, rates them by
// popularity and size, and merges the lowest. Its table of popularity in all of
// nixpkgs is not at hand: how many paths of the closure refer to one takes its place.
func nixery(step Step, limit int) [][]nix.PathInfo {
	d := newDAG(step.Closure)
	const large = 100_000_000
	root := d.topDominators(func(i int) bool { return len(d.users[i]) == 0 || d.closureSize(i) > large })
	type rated struct {
		members []int
		rating  int64
		name    string
	}
	var all []*rated
	byRoot := make(map[int]*rated)
	for i := len(d.infos) - 1; i >= 0; i-- {
		r := byRoot[root[i]]
		if r == nil {
			r = &rated{name: d.name(root[i])}
			byRoot[root[i]] = r
			all = append(all, r)
		}
		r.members = append(r.members, i)
		r.rating += d.closureSize(i) * int64(max(1, len(d.users[root[i]])))
	}
	slices.SortFunc(all, func(a, b *rated) int {
		return cmp.Or(cmp.Compare(a.rating, b.rating), strings.Compare(a.name, b.name))
	})
	for len(all) > limit {
		all[1].members = append(all[1].members, all[0].members...)
		all[1].rating += all[0].rating
		all = all[1:]
	}
	var groups [][]int
	slices.SortStableFunc(all, func(a, b *rated) int { return cmp.Compare(b.rating, a.rating) })
	for _, r := range all {
		groups = append(groups, r.members)
	}
	return d.groups(groups)
}

// topDominators returns for each path the one that dominates it and is dominated by
// nothing but the root: every way from the root to the path leads through it.
func (d dag) topDominators(fromRoot func(i int) bool) []int {
	top := make([]int, len(d.infos))
	for i := len(d.infos) - 1; i >= 0; i-- {
		top[i] = i
		if fromRoot(i) {
			continue
		}
		top[i] = top[d.users[i][0]]
		for _, user := range d.users[i] {
			if top[user] != top[i] {
				top[i] = i
				break
			}
		}
	}
	return top
}

// apko groups by origin, gives the largest groups a layer each, and the rest one.
func apko(step Step, limit int) [][]nix.PathInfo {
	byOrigin := make(map[string][]nix.PathInfo)
	size := make(map[string]int64)
	for _, info := range step.Closure {
		origin := step.Origin[info.Path]
		byOrigin[origin] = append(byOrigin[origin], info)
		size[origin] += info.NarSize
	}
	origins := make([]string, 0, len(size))
	for origin := range size {
		origins = append(origins, origin)
	}
	slices.SortFunc(origins, func(a, b string) int {
		return cmp.Or(cmp.Compare(size[b], size[a]), strings.Compare(b, a))
	})
	var groups [][]nix.PathInfo
	for n, origin := range origins {
		if n < limit {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], byOrigin[origin]...)
	}
	sortLast(groups)
	return groups
}
