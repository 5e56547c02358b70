package grouping

import "slices"

// order returns the paths in the order of layers: over and over, the closure that has
// the most bytes for its risk, of those that are left.
func (g *graph) order() []int {
	n := len(g.infos)
	size, risk := slices.Clone(g.size), slices.Clone(g.share) // of closures, as far as they are left
	for i := range n {
		for user := range g.needing[i].all {
			size[user] += g.size[i]
			risk[user] += g.share[i]
		}
	}
	placed := make([]bool, n)
	order := make([]int, 0, n)
	for len(order) < n {
		best := -1
		for i := range n {
			if !placed[i] && (best < 0 || size[i]*risk[best] > size[best]*risk[i]) {
				best = i
			}
		}
		first := len(order)
		order = g.place(order, placed, best)
		slices.Sort(order[first:])
		for _, i := range order[first:] {
			for user := range g.needing[i].all {
				size[user] -= g.size[i]
				risk[user] -= g.share[i]
			}
		}
	}
	return order
}

// place appends a path, and what it needs and is not placed.
func (g *graph) place(order []int, placed []bool, i int) []int {
	placed[i] = true
	order = append(order, i)
	for _, ref := range g.refs[i] {
		if !placed[ref] {
			order = g.place(order, placed, ref)
		}
	}
	return order
}
