package grouping

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

// The example of the package's documentation.
func example(t testing.TB, version string) []nix.PathInfo {
	glibc := object(t, 1, "glibc-2.40", 32<<20)
	icu := object(t, 2, "icu-76", 32<<20)
	zlib := object(t, 3, "zlib-1.3", 1<<20, glibc)
	nixPkg := object(t, 4, "nix-"+version, 16<<20, glibc, icu)
	git := object(t, 5, "git-2.50", 8<<20, glibc, zlib)
	return []nix.PathInfo{git, glibc, icu, nixPkg, zlib}
}

func TestExample(t *testing.T) {
	for limit, want := range map[int][][]string{
		5: {{"glibc-2.40"}, {"icu-76"}, {"nix-2.31"}, {"zlib-1.3"}, {"git-2.50"}},
		4: {{"glibc-2.40"}, {"icu-76"}, {"nix-2.31"}, {"zlib-1.3", "git-2.50"}},
		3: {{"glibc-2.40", "icu-76"}, {"nix-2.31"}, {"zlib-1.3", "git-2.50"}},
		0: {{"glibc-2.40", "icu-76", "zlib-1.3", "nix-2.31", "git-2.50"}},
	} {
		if diff := cmp.Diff(want, names(Group(example(t, "2.31"), limit))); diff != "" {
			t.Errorf("Group(limit %d) mismatch (-want +got):\n%s", limit, diff)
		}
	}
}

// The numbers of the package's documentation.
func TestExampleCosts(t *testing.T) {
	g := newGraph(example(t, "2.31"))
	layers := g.merge(g.order(), 5)
	var got []uint64
	for _, l := range layers[:4] {
		got = append(got, l.join>>10)
	}
	if diff := cmp.Diff([]uint64{15680, 24576, 6229, 512}, got); diff != "" {
		t.Errorf("costs of neighbours in MiB (-want +got):\n%s", diff)
	}
	if got := g.merge(g.order(), 4)[2].join >> 10; got != 17917 {
		t.Errorf("then nix and its upper neighbour cost %d", got)
	}
}

func TestGroupOfNothing(t *testing.T) {
	if got := Group(nil, 62); len(got) != 0 {
		t.Errorf("Group(nil) = %v", got)
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
		all = append(all, object(t, i, fmt.Sprintf("pkg%c%c%c-%s", 'a'+i%26, 'a'+i/26%26, 'a'+i/676, v), rng.Int64N(8<<20), refs...))
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
	want := names(Group(closed, 62))
	for range 300 {
		rand.Shuffle(len(closed), func(i, j int) { closed[i], closed[j] = closed[j], closed[i] })
		if diff := cmp.Diff(want, names(Group(closed, 62))); diff != "" {
			t.Fatalf("another order, another grouping:\n%s", diff)
		}
	}
}

// A new version of a leaf changes its own layer, and no other.
func TestGroupKeepsANewVersionInPlace(t *testing.T) {
	before := names(Group(closureOf(t, 200, "1.0"), 62))
	after := names(Group(closureOf(t, 200, "1.1"), 62))
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

// A package that comes or goes changes few layers beside its own.
func TestGroupKeepsMostWhenAPackageComes(t *testing.T) {
	closed := closureOf(t, 200, "1.0")
	before := names(Group(closed, 62))
	for _, size := range []int64{1 << 10, 1 << 20, 64 << 20} {
		after := names(Group(append(slices.Clone(closed), object(t, 900, "newcomer-1.0", size, closed[3], closed[50])), 62))
		changed := 0
		for _, g := range after {
			if !slices.ContainsFunc(before, func(b []string) bool { return slices.Equal(b, g) }) {
				changed++
			}
		}
		if changed > 6 { // of 62
			t.Errorf("a new package of %d bytes changed %d groups", size, changed)
		}
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

// FuzzGroup makes closures of any references and sizes: whatever they are, each path
// is in one layer, the limit is kept, and the order of the input is of no effect.
func FuzzGroup(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, 3)
	f.Add([]byte("closures of any references"), 5)
	f.Add([]byte("no limit"), -1)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		if len(data) > 200 {
			return
		}
		closed := make([]nix.PathInfo, len(data))
		for i, b := range data {
			closed[i] = object(t, i, fmt.Sprintf("pkg%c-%d", 'a'+b%20, i), int64(b)<<(b%50))
		}
		for i, b := range data {
			for _, to := range []int{int(b) * 7 % len(data), (i + int(b)) % len(data)} {
				closed[i].References = append(closed[i].References, closed[to].Path)
			}
		}
		groups := Group(closed, limit)
		if len(groups) > max(limit, 1) {
			t.Errorf("limit %d: %d groups", limit, len(groups))
		}
		seen := make(map[nix.StorePath]int)
		for _, info := range slices.Concat(groups...) {
			seen[info.Path]++
		}
		for _, info := range closed {
			if seen[info.Path] != 1 {
				t.Errorf("%s is in %d groups", info.Path, seen[info.Path])
			}
		}
		slices.Reverse(closed)
		if diff := cmp.Diff(names(groups), names(Group(closed, limit))); diff != "" {
			t.Errorf("another order, another grouping:\n%s", diff)
		}
	})
}

func BenchmarkGroup(b *testing.B) {
	for _, n := range []int{70, 500, 5000} {
		closed := closureOf(b, n, "1.0")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Group(closed, 62)
			}
		})
	}
}
