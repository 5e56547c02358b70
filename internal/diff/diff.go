// Package diff compares images by what their manifests and configurations say of
// them, so images that the factory did not make can be compared as far as they say
// something of themselves. Layers are read by ReadFiles alone, which adds what lies
// outside of the store.
package diff

import (
	"cmp"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Diff is what differs between the images A and B. Its JSON form is part of the
// command's interface.
type Diff struct {
	A       Image    `json:"a"`
	B       Image    `json:"b"`
	Same    bool     `json:"same"` // the images of all systems
	Systems []System `json:"systems"`
}

// System is what differs between two images for one system. Where only one side
// has an image for it, nothing is compared.
type System struct {
	System   string    `json:"system"`
	Same     bool      `json:"same"`
	A        *Side     `json:"a,omitempty"`
	B        *Side     `json:"b,omitempty"`
	Download *Download `json:"download,omitempty"`

	// All of these are sorted by name.
	Tools    []Change     `json:"tools"`
	Packages []Change     `json:"packages"`
	Settings []Setting    `json:"settings"`
	Files    []FileChange `json:"files"`

	Notes []string `json:"notes"` // what could not be compared, and why
}

// Side is the size of an image: compressed bytes of its layers, each counted once.
type Side struct {
	Digest v1.Hash `json:"digest"`
	Size   int64   `json:"size"`
	Layers int     `json:"layers"`
}

// Download is what somebody who has A downloads for B.
type Download struct {
	// ByDigest are the layers of B that A has not, for what keeps layers by
	// their digests: containerd, registries and their mirrors.
	ByDigest Amount `json:"byDigest"`

	// Classic are the layers of B from the first one that is not the same in A
	// at the same place. Docker's classic store knows a layer by all that lies
	// below it, and keeps no compressed layers, so it downloads the rest again.
	Classic Amount `json:"classic"`
}

// Amount is a number of layers, and of their compressed bytes.
type Amount struct {
	Bytes  int64 `json:"bytes"`
	Layers int   `json:"layers"`
}

// Compare compares two images.
func Compare(a, b Image) Diff {
	d := Diff{A: a, B: b, Same: true, Systems: []System{}}
	had, has := bySystem(a.Parts), bySystem(b.Parts)
	names := slices.Collect(maps.Keys(had))
	names = append(names, slices.Collect(maps.Keys(has))...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		s := compareParts(had[name], has[name])
		s.System = name
		d.Same = d.Same && s.Same
		d.Systems = append(d.Systems, s)
	}
	return d
}

func bySystem(parts []Part) map[string]*Part {
	found := make(map[string]*Part, len(parts))
	for i := range parts {
		name := parts[i].System
		for found[name] != nil { // as in indexes with several versions of an OS
			name += "+"
		}
		found[name] = &parts[i]
	}
	return found
}

func compareParts(a, b *Part) System {
	s := System{A: a.side(), B: b.side(), Tools: []Change{}, Packages: []Change{}, Settings: []Setting{}, Files: []FileChange{}, Notes: []string{}}
	if a == nil || b == nil {
		return s
	}
	s.Same = a.Digest == b.Digest
	s.Download = download(a.Layers, b.Layers)
	s.Settings = settings(a.Config, b.Config)
	for _, side := range []struct {
		name string
		part *Part
	}{{"A", a}, {"B", b}} {
		for _, note := range side.part.Notes {
			s.Notes = append(s.Notes, side.name+": "+note)
		}
	}
	if a.Tools != nil && b.Tools != nil {
		s.Tools = changes(a.Tools, b.Tools)
	}
	if a.Packages != nil && b.Packages != nil {
		s.Packages = changes(a.Packages, b.Packages)
	}
	if a.Files != nil && b.Files != nil {
		s.Files = fileChanges(a.Files, b.Files)
	}
	return s
}

func (p *Part) side() *Side {
	if p == nil {
		return nil
	}
	all := amount(p.Layers)
	return &Side{Digest: p.Digest, Size: all.Bytes, Layers: all.Layers}
}

func download(a, b []Layer) *Download {
	same := 0
	for same < min(len(a), len(b)) && a[same].Digest == b[same].Digest {
		same++
	}
	missing := slices.DeleteFunc(slices.Clone(b), func(l Layer) bool {
		return slices.ContainsFunc(a, func(had Layer) bool { return had.Digest == l.Digest })
	})
	return &Download{ByDigest: amount(missing), Classic: amount(b[same:])}
}

// amount counts a layer that is there twice once, as it is downloaded once.
func amount(list []Layer) (sum Amount) {
	counted := make(map[v1.Hash]bool)
	for _, l := range list {
		if !counted[l.Digest] {
			sum.Bytes += l.Size
			sum.Layers++
		}
		counted[l.Digest] = true
	}
	return sum
}

// Kinds of changes.
const (
	Added   = "added"
	Removed = "removed"
	Updated = "updated" // has other versions
	Rebuilt = "rebuilt" // has the same versions at other store paths
)

// Change is a package that differs, with its versions on either side: more than
// one where the image has several, none where its name has no version.
type Change struct {
	Name   string   `json:"name"`
	Change string   `json:"change"`
	From   []string `json:"from"`
	To     []string `json:"to"`
}

func changes(a, b []Package) []Change {
	had, has := byName(a), byName(b)
	list := []Change{}
	for name, before := range had {
		after, there := has[name]
		c := Change{Name: name, From: before.versions(), To: after.versions()}
		switch {
		case !there:
			c.Change = Removed
		case !slices.Equal(c.From, c.To):
			c.Change = Updated
		case !maps.Equal(before, after):
			c.Change = Rebuilt
		default:
			continue
		}
		list = append(list, c)
	}
	for name, after := range has {
		if _, there := had[name]; !there {
			list = append(list, Change{Name: name, Change: Added, From: []string{}, To: after.versions()})
		}
	}
	slices.SortFunc(list, func(x, y Change) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

// builds are the store paths of the packages of one name, with their versions.
type builds map[string]string

func byName(packages []Package) map[string]builds {
	found := make(map[string]builds)
	for _, p := range packages {
		if found[p.Name] == nil {
			found[p.Name] = builds{}
		}
		found[p.Name][p.Path] = p.Version
	}
	return found
}

func (b builds) versions() []string {
	list := slices.DeleteFunc(slices.Collect(maps.Values(b)), func(v string) bool { return v == "" })
	slices.Sort(list)
	return append([]string{}, slices.Compact(list)...)
}
