package layersim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Series is what an image held, one closure after the other.
type Series struct {
	Graph, Pattern string
	Steps          []Step
}

// Step is the closure of one image.
type Step struct {
	Closure []nix.PathInfo
	Packed  map[nix.StorePath]int64  // compressed bytes
	Origin  map[nix.StorePath]string // the source that a path is built from
}

// steps is how many closures a generated series has.
const steps = 60

// Generated patterns of change.
const (
	Stable   = "stable"   // few updates, of what few things need
	Unstable = "unstable" // many updates of everything; tools come and go
	Mass     = "mass"     // as stable; each fifth step is an update of something low
)

// Patterns of change that were recorded: releases of Debian, week by week.
const (
	RealStable   = "Debian stable"   // security fixes and point releases of Debian 12
	RealUnstable = "Debian unstable" // from the release of Debian 11 to the freeze of 12
	RealStaging  = "with staging"    // the same, but what much depends on waits for each fourth week, as in nixpkgs
)

// Generate makes a series by one of the generated patterns. It is the same each
// time for the same seed.
func Generate(g Graph, pattern string, seed uint64) Series {
	w := newWorld(g)
	rng := rand.New(rand.NewPCG(seed, uint64(len(g.Packages))))
	s := Series{Graph: g.Name, Pattern: pattern}
	serial := 0
	for n := range steps {
		for _, src := range w.choose(pattern, n, rng) {
			serial++
			w.versions[src] = fmt.Sprintf("1.%d", serial)
		}
		if pattern == Unstable && n%5 == 4 {
			w.toggle(rng)
		}
		s.Steps = append(s.Steps, w.step())
	}
	return s
}

// Replay makes a series of recorded releases: a closure for each week in which one
// of the graph's sources had any.
func Replay(g Graph, pattern string, releases []Release) Series {
	w := newWorld(g)
	first, last := day("2021-08-14"), day("2023-02-11")
	counts := func(r Release) bool { return r.Suite == "unstable" }
	if pattern == RealStable {
		first, last = day("2023-06-10"), day("2026-11-01")
		counts = func(r Release) bool { return strings.HasPrefix(r.Suite, "bookworm") }
	}
	releases = slices.Clone(releases)
	slices.SortFunc(releases, Release.compare)
	s := Series{Graph: g.Name, Pattern: pattern, Steps: []Step{w.step()}}
	for week := 1; ; week++ {
		until := first.AddDate(0, 0, 7*week)
		if until.After(last) {
			return s
		}
		changed := false
		for _, r := range releases {
			if pattern == RealStaging && week%4 != 0 && w.low(r.Source) {
				continue
			}
			known := w.versions[r.Source]
			if counts(r) && known != "" && !day(r.Day).Before(first) && day(r.Day).Before(until) && r.Day > w.since[r.Source] {
				w.versions[r.Source], w.since[r.Source] = r.Version, r.Day
				changed = true
			}
		}
		if changed {
			s.Steps = append(s.Steps, w.step())
		}
	}
}

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err) // a constant, or checked by ParseReleases
	}
	return t
}

// world is a graph at some time.
type world struct {
	graph    Graph
	versions map[string]string // of sources
	since    map[string]string // the day of that version
	users    map[string]int    // how many packages need one of a source's, directly or not
	away     map[int]bool      // roots that are not there
	roots    []int
}

func newWorld(g Graph) *world {
	w := &world{graph: g, versions: make(map[string]string), since: make(map[string]string), users: make(map[string]int), away: make(map[int]bool)}
	above := make([]map[int]bool, len(g.Packages))
	for i, p := range slices.Backward(g.Packages) {
		w.versions[p.Source] = "1.0"
		w.users[p.Source] = max(w.users[p.Source], len(above[i]))
		if len(above[i]) == 0 {
			w.roots = append(w.roots, i)
		}
		for _, d := range p.Deps {
			if above[d] == nil {
				above[d] = make(map[int]bool)
			}
			above[d][i] = true
			maps.Copy(above[d], above[i])
		}
	}
	for i := 0; i < len(w.roots); i += 8 {
		w.away[w.roots[i]] = len(w.roots) > 8
	}
	return w
}

// low tells of a source on which a fifth of the graph depends.
func (w *world) low(src string) bool { return w.users[src]*5 > len(w.graph.Packages) }

// choose picks the sources that change in a step.
func (w *world) choose(pattern string, n int, rng *rand.Rand) []string {
	all := slices.Sorted(maps.Keys(w.versions))
	if pattern == Unstable {
		return slices.DeleteFunc(all, func(string) bool { return rng.IntN(100) >= 4 })
	}
	if pattern == Mass && n%5 == 4 {
		return []string{pick(all, rng, func(src string) int { return w.users[src] * w.users[src] })}
	}
	var some []string
	for range 1 + rng.IntN(3) {
		some = append(some, pick(all, rng, func(src string) int { return 1000 / (1 + w.users[src]) }))
	}
	return some
}

// pick draws one by weight.
func pick(all []string, rng *rand.Rand, weight func(string) int) string {
	sum := 0
	for _, one := range all {
		sum += weight(one)
	}
	at := rng.IntN(sum)
	for _, one := range all {
		if at -= weight(one); at < 0 {
			return one
		}
	}
	return all[len(all)-1]
}

// toggle adds a root, or takes one away.
func (w *world) toggle(rng *rand.Rand) {
	if root := w.roots[rng.IntN(len(w.roots))]; len(w.roots) > 8 {
		w.away[root] = !w.away[root]
	}
}

// step is the closure of the roots that are there.
func (w *world) step() Step {
	needed := make([]bool, len(w.graph.Packages))
	for _, root := range w.roots {
		needed[root] = !w.away[root]
	}
	for i, p := range slices.Backward(w.graph.Packages) {
		for _, d := range p.Deps {
			needed[d] = needed[d] || needed[i]
		}
	}
	s := Step{Packed: make(map[nix.StorePath]int64), Origin: make(map[nix.StorePath]string)}
	paths := make([]nix.StorePath, len(needed))
	for i, p := range w.graph.Packages {
		if !needed[i] {
			continue
		}
		info := nix.PathInfo{}
		for _, d := range p.Deps {
			info.References = append(info.References, paths[d])
		}
		name := w.name(p)
		info.Path = storePath(name, info.References)
		info.NarSize = vary(p.Installed, name)
		paths[i] = info.Path
		s.Closure = append(s.Closure, info)
		s.Packed[info.Path] = vary(p.Packed, name)
		s.Origin[info.Path] = p.Source
	}
	slices.SortFunc(s.Closure, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return s
}

// name is a package's name in a store path: its source, the version, and which of
// the source's outputs it is.
func (w *world) name(p Package) string {
	version := strings.Map(func(r rune) rune {
		if strings.ContainsRune("~:", r) {
			return '.'
		}
		return r
	}, w.versions[p.Source])
	name := p.Source + "-" + version
	if p.Name != p.Source {
		name += "-" + p.Name
	}
	return name
}

// storePath is a path that depends on a name and on what is referred to, as Nix's do.
func storePath(name string, references []nix.StorePath) nix.StorePath {
	h := sha256.New()
	fmt.Fprintln(h, name)
	for _, ref := range references {
		fmt.Fprintln(h, ref)
	}
	path, err := nix.ParseStorePathBase(nix.EncodeBase32(h.Sum(nil)[:20]) + "-" + name)
	if err != nil {
		panic(err) // names are a graph's, and versions those of changelogs
	}
	return path
}

// vary changes a size by up to three percent, by the name with its version: no two
// versions of a package have the same size.
func vary(size int64, name string) int64 {
	sum := sha256.Sum256([]byte(name))
	return max(1, size+size*(int64(binary.BigEndian.Uint16(sum[:]))-1<<15)*3/(100<<15))
}
