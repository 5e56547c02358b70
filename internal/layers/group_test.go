package layers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// object returns the path info of a store path whose digest is made from seed.
func object(t testing.TB, seed int, name string, size int64, refs ...nix.PathInfo) nix.PathInfo {
	t.Helper()
	digest := strings.Repeat("0", 32-len(fmt.Sprint(seed))) + fmt.Sprint(seed)
	p, err := nix.ParseStorePathBase(digest + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{Path: p, NarSize: size}
	for _, r := range refs {
		info.References = append(info.References, r.Path)
	}
	return info
}

func names(groups [][]nix.PathInfo) [][]string {
	var all [][]string
	for _, g := range groups {
		var one []string
		for _, info := range g {
			one = append(one, info.Path.Name())
		}
		all = append(all, one)
	}
	return all
}

func TestGroupOrdersByHeight(t *testing.T) {
	glibc := object(t, 1, "glibc-2.40", 30<<20)
	zlib := object(t, 2, "zlib-1.3", 1<<10, glibc)
	nixPkg := object(t, 3, "nix-2.31", 20<<20, glibc, zlib)
	got := names(Group([]nix.PathInfo{nixPkg, glibc, zlib}, 10))
	want := [][]string{{"glibc-2.40"}, {"zlib-1.3"}, {"nix-2.31"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Group() mismatch (-want +got):\n%s", diff)
	}
}

// closureOf makes n packages, each of which refers to a few earlier ones.
func closureOf(t testing.TB, n int, version string) []nix.PathInfo {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []nix.PathInfo
	for i := range n {
		var refs []nix.PathInfo
		for range min(i, 3) {
			refs = append(refs, all[rng.IntN(i)])
		}
		v := "1.0"
		if i == n/2 {
			v = version
		}
		all = append(all, object(t, i, fmt.Sprintf("pkg%c%c-%s", 'a'+i%26, 'a'+i/26, v), rng.Int64N(8<<20), refs...))
	}
	return all
}

func TestGroupHoldsEachPathOnceWithinTheLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 10, 62, 500} {
		closed := closureOf(t, 300, "1.0")
		groups := Group(closed, limit)
		if len(groups) > limit {
			t.Errorf("limit %d: %d groups", limit, len(groups))
		}
		seen := make(map[nix.StorePath]int)
		for _, g := range groups {
			for _, info := range g {
				seen[info.Path]++
			}
		}
		for _, info := range closed {
			if seen[info.Path] != 1 {
				t.Errorf("limit %d: %s is in %d groups", limit, info.Path, seen[info.Path])
			}
		}
	}
}

func TestGroupDoesNotDependOnOrder(t *testing.T) {
	closed := closureOf(t, 200, "1.0")
	want := names(Group(closed, MaxClosureLayers))
	for range 300 {
		rand.Shuffle(len(closed), func(i, j int) { closed[i], closed[j] = closed[j], closed[i] })
		if diff := cmp.Diff(want, names(Group(closed, MaxClosureLayers))); diff != "" {
			t.Fatalf("another order, another grouping:\n%s", diff)
		}
	}
}

func TestGroupKeepsANewVersionInPlace(t *testing.T) {
	before := names(Group(closureOf(t, 200, "1.0"), MaxClosureLayers))
	after := names(Group(closureOf(t, 200, "1.1"), MaxClosureLayers))
	changed := 0
	for _, g := range after {
		if !slices.ContainsFunc(before, func(b []string) bool { return slices.Equal(b, g) }) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("a new version of one package changed %d groups, want 1", changed)
	}
}

func TestGroupEndsOnACycle(t *testing.T) {
	a := object(t, 1, "a", 1)
	b := object(t, 2, "b", 1, a)
	a.References = []nix.StorePath{b.Path}
	if got := len(Group([]nix.PathInfo{a, b}, 5)); got != 2 {
		t.Errorf("got %d groups, want 2", got)
	}
}
