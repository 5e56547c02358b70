package grouping

import (
	"math/bits"
	"slices"
)

// layer is some paths that follow each other in the order.
type layer struct {
	members []int
	size    uint64
	closure set    // the packages that they need
	risk    uint64 // the rates of these
	join    uint64 // what it costs to put it and the next layer together
}

// merge makes at most limit layers of paths, all of which are there in order.
func (g *graph) merge(order []int, limit int) []layer {
	layers := make([]layer, 0, len(order))
	for _, i := range order {
		layers = append(layers, layer{
			members: []int{i}, size: g.size[i], closure: g.closure[i], risk: g.closure[i].sumWithout(newSet(len(g.rate)), g.rate),
		})
	}
	for i := range len(layers) - 1 {
		layers[i].join = g.cost(layers[i], layers[i+1])
	}
	for len(layers) > limit {
		best := 0
		for i := range len(layers) - 1 {
			if layers[i].join < layers[best].join {
				best = i
			}
		}
		layers[best] = g.together(layers[best], layers[best+1])
		layers = slices.Delete(layers, best+1, best+2)
		for _, i := range []int{best - 1, best} {
			if i >= 0 && i+1 < len(layers) {
				layers[i].join = g.cost(layers[i], layers[i+1])
			}
		}
	}
	return layers
}

// cost is by how much the bytes that are to be expected grow when two layers are one:
// by digest each is pulled for what changes below the other, too, and by chain the
// lower one for what changes below the upper one.
func (g *graph) cost(lower, upper layer) uint64 {
	both := lower.risk + upper.closure.sumWithout(lower.closure, g.rate)
	return 2*lower.size*(both-lower.risk) + upper.size*(both-upper.risk)
}

func (g *graph) together(lower, upper layer) layer {
	closure := slices.Clone(lower.closure)
	closure.join(upper.closure)
	return layer{
		members: append(lower.members, upper.members...),
		size:    lower.size + upper.size,
		closure: closure,
		risk:    lower.risk + upper.closure.sumWithout(lower.closure, g.rate),
	}
}

// set is a set of packages or of paths, by index.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s set) join(t set) {
	for i := range s {
		s[i] |= t[i]
	}
}

// size is how many are in the set.
func (s set) size() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// all yields what is in the set, in order.
func (s set) all(yield func(int) bool) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			if !yield(i*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// sumWithout adds the rates of the packages that are in s and not in t.
func (s set) sumWithout(t set, rates []uint64) (sum uint64) {
	for i, word := range s {
		for word &^= t[i]; word != 0; word &= word - 1 {
			sum += rates[i*64+bits.TrailingZeros64(word)]
		}
	}
	return sum
}
