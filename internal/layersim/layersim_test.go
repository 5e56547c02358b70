package layersim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

func allSeries(t *testing.T) []Series {
	t.Helper()
	all, err := AllSeries(1)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// documented returns the part of docs/layers.md about a series.
func documented(t *testing.T, s Series) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/layers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(page), fmt.Sprintf("### %s, %s\n", s.Graph, s.Pattern))
	if !ok {
		t.Fatalf("docs/layers.md has no table for %s, %s", s.Graph, s.Pattern)
	}
	part, _, _ = strings.Cut(part, "\n###")
	return part
}

// docs/layers.md has what the command prints: all of it for the miniature, and for the
// other graphs what takes little time.
func TestDocumentedTables(t *testing.T) {
	for _, s := range allSeries(t) {
		part := documented(t, s)
		if want := fmt.Sprintf("%d closures, the first with %d paths.", len(s.Steps), len(s.Steps[0].Closure)); !strings.Contains(part, want) {
			t.Errorf("docs/layers.md: %s, %s: want %q", s.Graph, s.Pattern, want)
		}
		for _, strategy := range Strategies {
			if s.Graph != "miniature" && strategy.Name != Ours && strategy.Name != "one layer" && strategy.Name != "apko" {
				continue
			}
			if want := row(strategy.Name, Measure(s, strategy.Groups, layers.MaxClosureLayers)); !strings.Contains(part, want) {
				t.Errorf("docs/layers.md: %s, %s: want %s; see there how the tables are made", s.Graph, s.Pattern, want)
			}
		}
	}
}

// On every series the factory's layers cost no more than any other's that keeps the
// limit, by digest and by chain, to the hundredth that the documented tables have.
func TestOursIsBest(t *testing.T) {
	for _, s := range allSeries(t) {
		if len(s.Steps) < 50 {
			t.Errorf("%s, %s: %d closures, want 50", s.Graph, s.Pattern, len(s.Steps))
		}
		part := documented(t, s)
		ours := costs(t, part, Ours)
		for _, other := range Strategies {
			c := costs(t, part, other.Name)
			if !other.Bound && (ours.digest > c.digest || ours.chain > c.chain || c.layers > layers.MaxClosureLayers) {
				t.Errorf("%s, %s: %+v, and %s has %+v", s.Graph, s.Pattern, ours, other.Name, c)
			}
		}
	}
}

type documentedCosts struct {
	pushed, digest, chain float64
	layers                int
}

// costs reads a row of a table.
func costs(t *testing.T, table, name string) (c documentedCosts) {
	t.Helper()
	_, text, ok := strings.Cut(table, "| "+name+" |")
	if _, err := fmt.Sscanf(text, "%f | %f | %f | %d |", &c.pushed, &c.digest, &c.chain, &c.layers); !ok || err != nil {
		t.Fatalf("docs/layers.md: no row for %s: %v", name, err)
	}
	return c
}

// Every strategy has each path once.
func TestStrategiesHaveEachPathOnce(t *testing.T) {
	for _, s := range allSeries(t)[:4] {
		step := s.Steps[7]
		for _, strategy := range Strategies {
			seen := make(map[nix.StorePath]int)
			for _, group := range strategy.Groups(step, 20) {
				for _, info := range group {
					seen[info.Path]++
				}
			}
			for _, info := range step.Closure {
				if seen[info.Path] != 1 {
					t.Errorf("%s, %s: %s is in %d layers", s.Graph, strategy.Name, info.Path, seen[info.Path])
				}
			}
		}
	}
}

// three is c on b on a, and d alone.
func three(t *testing.T) Graph {
	t.Helper()
	g, err := ParseGraph("three", strings.NewReader("# comment\na a 100 10\nb b 200 20 a\nc c 300 30 a b\nd d 400 40\n"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMeasure(t *testing.T) {
	w := newWorld(three(t))
	s := Series{Steps: []Step{w.step()}}
	w.versions["b"] = "1.1" // changes b and c
	s.Steps = append(s.Steps, w.step())
	one := Measure(s, oneLayer, 10)
	if one.Digest != one.Closure || one.Chain != one.Closure || one.Layers != 1 {
		t.Errorf("one layer: %+v", one)
	}
	packed := func(name string) (size int64) {
		for _, info := range s.Steps[1].Closure {
			if s.Steps[1].Origin[info.Path] == name {
				size = s.Steps[1].Packed[info.Path]
			}
		}
		return size
	}
	// The order is by height, then name: a, d, b, c.
	each := Measure(s, layerPerPath, 10)
	want := Cost{Layers: 4, Closure: one.Closure, Pushed: packed("b") + packed("c"), Digest: packed("b") + packed("c"), Chain: packed("b") + packed("c")}
	if diff := cmp.Diff(want, each); diff != "" {
		t.Errorf("a layer per path (-want +got):\n%s", diff)
	}
}

func TestReplay(t *testing.T) {
	releases := []Release{
		{"b", "2021-08-20", "unstable", "2.0-1"},
		{"b", "2021-08-21", "experimental", "3.0-1"},
		{"other", "2021-09-20", "unstable", "1"},
		{"a", "2021-10-20", "unstable", "1:2~rc1-1"},
		{"d", "2023-07-01", "bookworm-security", "5"},
	}
	s := Replay(three(t), RealUnstable, releases)
	var got []string
	for _, step := range s.Steps {
		var names []string
		for _, info := range step.Closure {
			names = append(names, info.Path.Name())
		}
		slices.Sort(names)
		got = append(got, strings.Join(names, " "))
	}
	want := []string{"a-1.0 b-1.0 c-1.0 d-1.0", "a-1.0 b-2.0-1 c-1.0 d-1.0", "a-1.2.rc1-1 b-2.0-1 c-1.0 d-1.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("closures (-want +got):\n%s", diff)
	}
	if n := len(Replay(three(t), RealStable, releases).Steps); n != 2 {
		t.Errorf("stable: %d closures, want 2", n)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a a 1":               "line 1",
		"a a 1 0":             "want a size",
		"a a 1 1 b":           "needs b",
		"a a 1 1\na a 1 1":    "twice",
		"a a 1 1\nb b 1 -1 a": "line 2",
	} {
		if _, err := ParseGraph("x", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseGraph(%q) = %v, want an error with %q", text, err, want)
		}
	}
	for _, text := range []string{"a 2021-08-20 unstable", "a 2021-13-20 unstable 1"} {
		if _, err := ParseReleases(strings.NewReader(text)); err == nil {
			t.Errorf("ParseReleases(%q): no error", text)
		}
	}
}

func TestOrderLeavesOutWhatClosesACircle(t *testing.T) {
	node := func(needs ...string) Node {
		return Node{Package: Package{Source: "s", Installed: 1, Packed: 1}, Needs: needs}
	}
	g, err := Order("circle", map[string]Node{"a": node("b"), "b": node("a", "c"), "c": node()}, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := g.Write(&text); err != nil {
		t.Fatal(err)
	}
	if want := "c s 1 1\nb s 1 1 c\na s 1 1 b\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
	if _, err := Order("lack", map[string]Node{"a": node("b")}, []string{"a"}); err == nil {
		t.Error("a package that is not known is no error")
	}
}
