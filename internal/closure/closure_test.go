package closure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func path(t testing.TB, name string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(strings.Repeat("0", 32) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// graph answers from a map and counts the questions.
type graph struct {
	refs map[nix.StorePath][]nix.StorePath

	mu    sync.Mutex
	asked map[nix.StorePath]int
}

var errNowhere = errors.New("no cache has it")

func (g *graph) Info(_ context.Context, p nix.StorePath) (nix.PathInfo, error) {
	g.mu.Lock()
	g.asked[p]++
	g.mu.Unlock()
	refs, ok := g.refs[p]
	if !ok {
		return nix.PathInfo{}, fmt.Errorf("%s: %w", p, errNowhere)
	}
	return nix.PathInfo{Path: p, NarSize: 10, References: refs}, nil
}

func newGraph(t testing.TB, lines ...string) *graph {
	g := &graph{refs: make(map[nix.StorePath][]nix.StorePath), asked: make(map[nix.StorePath]int)}
	for _, line := range lines {
		from, to, _ := strings.Cut(line, ":")
		refs := []nix.StorePath{}
		for _, name := range strings.Fields(to) {
			refs = append(refs, path(t, name))
		}
		g.refs[path(t, from)] = refs
	}
	return g
}

func TestCompute(t *testing.T) {
	tests := []struct {
		name  string
		graph []string
		roots string
		want  string
	}{
		{"a leaf", []string{"a:"}, "a", "a"},
		{"itself", []string{"a: a"}, "a", "a"},
		{"a diamond", []string{"a: b c", "b: d", "c: d", "d:", "e:"}, "a", "a b c d"},
		{"a cycle", []string{"a: b", "b: c", "c: a"}, "b", "a b c"},
		{"roots twice", []string{"a:", "b: a"}, "b a b", "a b"},
		{"nothing", nil, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGraph(t, tt.graph...)
			var roots []nix.StorePath
			for _, name := range strings.Fields(tt.roots) {
				roots = append(roots, path(t, name))
			}
			got, err := Compute(t.Context(), g, roots)
			if err != nil {
				t.Fatal(err)
			}
			names := make([]string, len(got))
			for i, info := range got {
				names[i] = info.Path.Name()
			}
			if diff := cmp.Diff(tt.want, strings.Join(names, " ")); diff != "" {
				t.Errorf("Compute() mismatch (-want +got):\n%s", diff)
			}
			for p, n := range g.asked {
				if n != 1 {
					t.Errorf("%s asked for %d times", p.Name(), n)
				}
			}
			if size := Size(got); size != int64(10*len(got)) {
				t.Errorf("Size() = %d", size)
			}
		})
	}
}

func TestComputeNamesWhatIsMissingAndWhoNeedsIt(t *testing.T) {
	_, err := Compute(t.Context(), newGraph(t, "a: b", "b: c"), []nix.StorePath{path(t, "a")})
	if !errors.Is(err, errNowhere) {
		t.Fatalf("Compute() = %v, want %v", err, errNowhere)
	}
	for _, want := range []string{"-c", "needed by", "-b"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestComputeStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := newGraph(t)
	for i := range 1000 {
		g.refs[path(t, fmt.Sprint("p", i))] = []nix.StorePath{path(t, fmt.Sprint("p", i+1))}
	}
	if _, err := Compute(ctx, g, []nix.StorePath{path(t, "p0")}); err == nil {
		t.Error("no error")
	}
}
