// Package upload brings store objects that upstream does not have to binary
// caches, so that later builds and users get them from there: to an Attic
// server (Attic), to Cachix (Cachix), and to whatever nix copy can write to
// (Store).
//
// Package binarycache is the other way round: it reads.
//
// No target is trusted to check what it is given: it sees the last bytes of a
// NAR only after all of them were held against NarSize and NarHash.
package upload

import (
	"context"
	"io"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Objects gives the NARs of store objects. It must be safe for concurrent use,
// and ready to give the same NAR again when an upload is repeated.
type Objects interface {
	NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error)
}

// Target is a binary cache that takes store objects.
type Target interface {
	// Name is what the cache is called in messages. It holds no secret.
	Name() string

	// Push brings to the cache those of infos that upstream does not have.
	// infos are closed under references, in any order, and may repeat a path.
	// The report tells what was done also when there is an error.
	// A *NotPushed error says that nothing was tried, and why.
	Push(ctx context.Context, infos []nix.PathInfo, objects Objects) (Report, error)
}

var _ = []Target{Attic{}, Cachix{}, Store{}}

// Report counts store objects.
type Report struct {
	Pushed   int   // brought to the cache now; for Cachix: handed to its program
	Present  int   // the cache had them
	Upstream int   // left out: signed by a cache that everybody uses anyway
	Bytes    int64 // of the NARs of the pushed ones, uncompressed
}

// NotPushed is the notice that a target was passed over because this machine
// lacks something for it: a token, a program. It is not a failure of the cache.
type NotPushed struct{ Reason string }

func (n *NotPushed) Error() string { return "nothing pushed: " + n.Reason }

// foreign returns the infos without a signature of a key of one of these
// names, sorted by path, and how many others there are. As in Attic's and
// Nix's own clients, the name of the key decides.
func foreign(infos []nix.PathInfo, upstream []string) (chosen []nix.PathInfo, others int) {
	all := unique(infos)
	chosen = slices.DeleteFunc(slices.Clone(all), func(info nix.PathInfo) bool {
		return slices.ContainsFunc(info.Sigs, func(s nix.Signature) bool { return slices.Contains(upstream, s.Name) })
	})
	return chosen, len(all) - len(chosen)
}

// unique returns the infos sorted by path, each path once.
func unique(infos []nix.PathInfo) []nix.PathInfo {
	sorted := slices.Clone(infos)
	slices.SortStableFunc(sorted, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return slices.CompactFunc(sorted, func(a, b nix.PathInfo) bool { return a.Path == b.Path })
}

// withReferences returns chosen and all that they refer to, as far as infos
// has it, sorted by path. Nix registers no object before its references.
func withReferences(chosen, infos []nix.PathInfo) []nix.PathInfo {
	known := make(map[nix.StorePath]nix.PathInfo, len(infos))
	for _, info := range infos {
		known[info.Path] = info
	}
	taken := make(map[nix.StorePath]bool)
	var all []nix.PathInfo
	var take func(info nix.PathInfo)
	take = func(info nix.PathInfo) {
		if taken[info.Path] {
			return
		}
		taken[info.Path] = true
		all = append(all, info)
		for _, ref := range info.References {
			if next, ok := known[ref]; ok {
				take(next)
			}
		}
	}
	for _, info := range chosen {
		take(info)
	}
	return unique(all)
}

// size returns the sum of the NAR sizes.
func size(infos []nix.PathInfo) int64 {
	var sum int64
	for _, info := range infos {
		sum += info.NarSize
	}
	return sum
}
