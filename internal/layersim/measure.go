package layersim

import (
	"crypto/sha256"
	"fmt"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Cost is what a strategy costs on a series: sums over all steps but the first, which
// is the same for all.
type Cost struct {
	Pushed  int64 // bytes of layers that the registry never had
	Digest  int64 // bytes of layers that the image before did not have
	Chain   int64 // bytes of layers above the lowest one that changed
	Layers  int   // the most that an image had
	Closure int64 // bytes of all images: what it costs if nothing is ever used again
}

// Measure plays a series through a strategy.
func Measure(s Series, strategy Strategy, limit int) Cost {
	var c Cost
	registry := make(map[[32]byte]bool)
	var before []layer
	for n, step := range s.Steps {
		now := stack(step, strategy(step, limit))
		had := make(map[[32]byte]bool)
		for _, l := range before {
			had[l.digest] = true
		}
		same := true
		for i, l := range now {
			same = same && i < len(before) && before[i].digest == l.digest
			if n > 0 {
				c.Closure += l.size
				c.Pushed += unless(registry[l.digest], l.size)
				c.Digest += unless(had[l.digest], l.size)
				c.Chain += unless(same, l.size)
			}
		}
		for _, l := range now {
			registry[l.digest] = true
		}
		c.Layers = max(c.Layers, len(now))
		before = now
	}
	return c
}

func unless(present bool, size int64) int64 {
	if present {
		return 0
	}
	return size
}

type layer struct {
	digest [32]byte
	size   int64
}

// stack makes layers of groups.
func stack(step Step, groups [][]nix.PathInfo) []layer {
	all := make([]layer, 0, len(groups))
	for _, group := range groups {
		h := sha256.New()
		var l layer
		for _, info := range group {
			fmt.Fprintln(h, info.Path)
			l.size += step.Packed[info.Path]
		}
		h.Sum(l.digest[:0])
		all = append(all, l)
	}
	return all
}
