package source

import (
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// growing is a tree that entries come into, and their order. Paths of directories end in a slash.
type growing struct {
	top   node
	order order
}

func newGrowing() *growing {
	g := new(growing)
	g.order = newOrder(&g.top)
	return g
}

// add enters a path below directories that exist.
func (g *growing) add(entry string) {
	dirs := []*node{&g.top}
	names := strings.Split(strings.TrimSuffix(entry, "/"), "/")
	last := len(names) - 1
	for _, name := range names[:last] {
		dirs = append(dirs, dirs[len(dirs)-1].child(name))
	}
	n := &node{name: names[last], kind: nar.Regular}
	if strings.HasSuffix(entry, "/") {
		n.kind = nar.Directory
	}
	dirs[last].put(n)
	g.order.add(dirs, n)
}

// paths are those of all steps.
func (g *growing) paths() []string {
	var dirs, paths []string
	for _, s := range g.order.steps {
		dirs = append(dirs[:s.depth], s.node.name)
		paths = append(paths, strings.Join(dirs, "/"))
	}
	return paths
}

func TestOrder(t *testing.T) {
	for name, entries := range map[string][]struct{ add, steps string }{
		"of the comment": {
			{"t/", "t"},
			{"t/foo-1", ""},
			{"t/foo.nix", ""},
			{"t/foo/", "t/foo"},
			{"t/foo/x", "t/foo/x"},
			{"t/foo0", "t/foo-1 t/foo.nix t/foo0"},
		},
		"the directory does not come": {
			{"t/", "t"},
			{"t/a.nix", ""},
			{"t/a0", "t/a.nix t/a0"},
			{"t/b.nix", ""},
			{"", "t/b.nix"},
		},
		"a directory is held": {
			{"t/", "t"},
			{"t/a-b/", ""},
			{"t/a-b/y.nix", ""},
			{"t/a-b/y/", ""},
			{"t/a-b/z", ""},
			{"t/a/", "t/a"},
			{"t/a/x", "t/a/x"},
			{"t/c", "t/a-b t/a-b/y t/a-b/y.nix t/a-b/z t/c"},
		},
		"directories in a row": {
			{"t/", "t"},
			{"t/a-b-c/", ""},
			{"t/a-b-c/1", ""},
			{"t/a-b/", ""},
			{"t/a-b/2", ""},
			{"t/a/", "t/a"},
			{"t/a/b-c/", ""},
			{"t/a/b/", "t/a/b"},
			{"t/b/", "t/a/b-c t/a-b t/a-b/2 t/a-b-c t/a-b-c/1 t/b"},
		},
		"one top-level entry": {
			{"t-1/", "t-1"},
			{"t-1/x", "t-1/x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, known := newGrowing(), 0
			for _, e := range entries {
				if e.add == "" {
					g.order.complete()
				} else {
					g.add(e.add)
				}
				paths := g.paths()
				if got := strings.Join(paths[known:], " "); got != e.steps || g.order.lost {
					t.Errorf("after %q: steps %q, want %q; lost: %v", e.add, got, e.steps, g.order.lost)
				}
				known = len(paths)
			}
		})
	}
}

func TestOrderLost(t *testing.T) {
	for name, entries := range map[string][]string{
		"a second one of the name": {"t/", "t/a", "t/a"},
		"of a NAR":                 {"t/", "t/a/", "t/a/x", "t/a-1"},
		"of nothing":               {"t/", "t/b", "t/a"},
		"into an earlier one":      {"t/", "t/a/", "t/b/", "t/a/x"},
		"and no directory after":   {"t/", "t/a/", "t/b", "t/a/x"},
		"beside its equal":         {"t/", "t/a/", "t/x0-", "t/a/x0/"},
		"into an earlier held one": {"t/", "t/a-1/", "t/a/", "t/a-1/x"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrowing()
			for i, e := range entries {
				if g.order.lost {
					t.Errorf("lost before %q", e)
				}
				if g.add(e); g.order.lost != (i == len(entries)-1) {
					t.Errorf("after %q: lost is %v", e, g.order.lost)
				}
			}
		})
	}
}

// randomPaths are those of some entries below a directory and of the directories that lead to them, in git's order.
func randomPaths(rng *rand.Rand) []string {
	parts := []string{"a", "b", "-", ".", "!", "0", "\xff"}
	all := map[string]bool{"t/": true}
	for range 1 + rng.IntN(60) {
		var name strings.Builder
		for range 1 + rng.IntN(4) {
			for range 1 + rng.IntN(3) {
				name.WriteString(parts[rng.IntN(len(parts))])
			}
			name.WriteByte('/')
		}
		entry := path.Join("t", strings.NewReplacer("./", "a/", "..", "b").Replace(name.String()))
		if all[entry] || all[entry+"/"] {
			continue
		}
		dirs := entry
		for dirs = path.Dir(dirs); dirs != "." && !all[dirs]; dirs = path.Dir(dirs) {
		}
		if dirs != "." { // below a file
			continue
		}
		for dirs = path.Dir(entry); dirs != "."; dirs = path.Dir(dirs) {
			all[dirs+"/"] = true
		}
		if rng.IntN(8) == 0 {
			entry += "/"
		}
		all[entry] = true
	}
	var paths []string
	for p := range all {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// In git's order, the steps are at all times the beginning of a walk through the finished tree, and in the end all of it.
func TestOrderOfGit(t *testing.T) {
	for seed := range uint64(2000) {
		paths := randomPaths(rand.New(rand.NewPCG(seed, 0)))
		g := newGrowing()
		for _, p := range paths {
			g.add(p)
			if n := len(g.order.steps); !strings.ContainsAny(p, "-.!") && g.order.steps[n-1].node.name != path.Base(p) {
				t.Fatalf("seed %d: %q is not a step at once", seed, p)
			}
		}
		g.order.complete()
		g.top.sort()
		want := slices.Collect(g.top.children[0].steps)
		if g.order.lost || !slices.Equal(g.order.steps, want) {
			t.Fatalf("seed %d: lost is %v; steps are not those of the tree\n%s", seed, g.order.lost, strings.Join(g.paths(), "\n"))
		}
	}
}
