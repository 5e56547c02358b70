// Package pin finds the places in a project's files that name a commit of
// nixpkgs, and says what to write there to have all of them name one: images to
// build on, and pins of niv, npins, flakes and Nix expressions.
//
// It is text in, edits out, and reads no file. Bytes outside of the edits stay
// as they are, and a file in which everything names the target gets no edits.
// What names nixpkgs and is not understood is a spot, too, with a reason why it
// is left alone.
package pin

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Target is what everything is to name.
type Target struct {
	Channel      string // "": what is there stays
	Rev          git.Rev
	NarHash      nix.Hash
	LastModified int64 // seconds since 1970

	// Digests has the digest, as in "sha256:…", of each image by its
	// repository and tag, as Spot.Image gives them.
	Digests map[string]string
}

// Spot is a place in a file that names nixpkgs.
type Spot struct {
	Line    int
	What    string // names the format, and the pin in it
	Channel string // that it follows; "" if it does not say
	Rev     string // that it names; "" if it names none
	Left    string // why it is left alone; "" if it can be changed
	Note    string // what to mind when its channel changes

	image  *reference
	fields []field
}

// kind is what a field says.
type kind int

const (
	kindRev kind = iota
	kindChannel
	kindHash
	kindModified
	kindDigest
)

// field is a part of a spot that depends on the target.
type field struct {
	kind       kind
	start, end int    // of old in the file
	old        string // without what is before it
	before     string // goes before what is inserted where nothing is
	hash       encoding
}

// Edit replaces the bytes from Start to End.
type Edit struct {
	Start, End int
	New        string
}

// finder finds the spots of one format.
type finder func(text []byte, o Options) ([]Spot, error)

// Options are what finding depends on.
type Options struct {
	// Repository is one whose images count whatever its name is.
	Repository string
}

func finderFor(name string) finder {
	base := strings.ToLower(path.Base(name))
	switch {
	case base == "flake.nix":
		return nil // its lock file has the commit
	case base == "flake.lock":
		return flakeLock
	case base == "sources.json":
		return sources
	case base == "devcontainer.json" || base == ".devcontainer.json":
		return devcontainer
	case strings.HasSuffix(base, ".nix"):
		return nixFile
	case strings.HasSuffix(base, ".yml"), strings.HasSuffix(base, ".yaml"):
		return yamlFile
	case isDockerfile(base):
		return dockerfile
	}
	return nil
}

func isDockerfile(base string) bool {
	for _, name := range []string{"dockerfile", "containerfile"} {
		if base == name || strings.HasPrefix(base, name+".") || strings.HasSuffix(base, "."+name) {
			return true
		}
	}
	return false
}

// Knows tells whether a file of this name may have spots.
func Knows(name string) bool { return finderFor(name) != nil }

// Find returns the spots of a file, from its beginning to its end. Where a file
// that speaks of nixpkgs cannot be read, that is an error.
func Find(name string, text []byte, o Options) ([]Spot, error) {
	find := finderFor(name)
	if find == nil || !speaksOfNixpkgs(text, o) {
		return nil, nil
	}
	spots, err := find(text, o)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(spots, func(a, b Spot) int { return cmp.Compare(a.Line, b.Line) })
	return spots, nil
}

func speaksOfNixpkgs(text []byte, o Options) bool {
	return bytes.Contains(bytes.ToLower(text), []byte("nixpkgs")) || o.Repository != "" && bytes.Contains(text, []byte(path.Base(o.Repository)))
}

// Image is the image that a spot is to name for a channel and a commit:
// repository and tag. It is "" for what is no image. An empty channel is the one
// that it has.
func (s Spot) Image(channel string, rev git.Rev) (repository, tag string) {
	if s.image == nil {
		return "", ""
	}
	return s.image.repository(channel), rev.String() + s.image.suffix
}

// IsImage tells whether a spot names an image.
func (s Spot) IsImage() bool { return s.image != nil }

// Tag is that of an image; "" if it has none.
func (s Spot) Tag() string {
	if s.image == nil {
		return ""
	}
	return s.image.tag
}

// Suffix is what stands behind the commit in the tag of an image.
func (s Spot) Suffix() string {
	if s.image == nil {
		return ""
	}
	return s.image.suffix
}

// Edits returns what has to change for a spot to name the target.
func (s Spot) Edits(t Target) ([]Edit, error) {
	if s.Left != "" {
		return nil, nil
	}
	var edits []Edit
	for _, f := range s.fields {
		want, err := s.want(f, t)
		if err != nil {
			return nil, err
		}
		if want != f.old {
			edits = append(edits, Edit{f.start, f.end, f.before + want})
		}
	}
	return edits, nil
}

func (s Spot) want(f field, t Target) (string, error) {
	switch f.kind {
	case kindRev:
		return t.Rev.String(), nil
	case kindChannel:
		return cmp.Or(t.Channel, f.old), nil
	case kindHash:
		if old, err := nix.ParseHash(f.old); err == nil && old == t.NarHash {
			return f.old, nil
		}
		return f.hash.write(t.NarHash), nil
	case kindModified:
		return strconv.FormatInt(t.LastModified, 10), nil
	}
	repository, tag := s.Image(t.Channel, t.Rev)
	digest, ok := t.Digests[repository+":"+tag]
	if !ok {
		return "", fmt.Errorf("the digest of %s:%s is not known", repository, tag)
	}
	return digest, nil
}

// Apply makes edits, of which those that are the same count once. Edits that
// touch each other otherwise are an error.
func Apply(text []byte, edits []Edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.New, b.New))
	})
	edits = slices.Compact(edits)
	var out bytes.Buffer
	at := 0
	for i, e := range edits {
		if e.Start < at || e.End < e.Start || e.End > len(text) || i > 0 && e.Start == edits[i-1].Start {
			return nil, fmt.Errorf("line %d: what is written there is used in two ways", lineOf(text, e.Start))
		}
		out.Write(text[at:e.Start])
		out.WriteString(e.New)
		at = e.End
	}
	out.Write(text[at:])
	return out.Bytes(), nil
}

// lineOf is the number of the line that has an offset.
func lineOf(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))
}
