// Package sbom writes down what an image is made of: an SPDX 2.3 document
// (https://spdx.github.io/spdx-spec/v2.3/) of the store paths in it.
//
// Each store path is a package, with the hash of its NAR, what it depends on by
// its references, and as far as nixpkgs says them its licences and the source
// that it was built from. What is not known is NOASSERTION. The document has no
// clock and no chance in it: equal images give equal bytes.
package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// MediaType is that of an SPDX document in JSON
// (https://www.iana.org/assignments/media-types/application/spdx+json).
const MediaType = "application/spdx+json"

// Image is what the document is of: the image of one system.
type Image struct {
	Name    string // of the repository, as in nixpkgs-nixos-26.05
	Digest  string // of its manifest, as in sha256:…
	Arch    string // as in amd64
	Created time.Time
	Objects []nix.PathInfo // all of them; what they refer to is among them
	Known   map[nix.StorePath]Meta
}

// Meta is what nixpkgs says of a store path. What it does not say is empty.
type Meta struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Homepage string    `json:"homepage"`
	Licences []Licence `json:"licences"`
	Sources  []Source  `json:"sources"`
}

// Licence is one of nixpkgs' lib.licenses.
type Licence struct {
	SPDX string `json:"spdx"` // identifier; "" for one that has none, such as unfree
	Name string `json:"name"` // nixpkgs' short one
	Full string `json:"full"`
	URL  string `json:"url"`
}

// Source is what a store path was built from.
type Source struct {
	URL  string `json:"url"`
	Hash string `json:"hash"` // sha256-… or another of Nix's ways to write it; "" if it is not fixed
	Tree bool   `json:"tree"` // the hash is that of a NAR, of a file otherwise
}

const none = "NOASSERTION"

const imageID = "SPDXRef-image"

// SPDX returns the document.
func (i Image) SPDX() ([]byte, error) {
	licences := &licensing{}
	doc := document{
		Version:     "SPDX-2.3",
		DataLicense: "CC0-1.0",
		ID:          "SPDXRef-DOCUMENT",
		Name:        i.Name + "@" + i.Digest,
		Namespace:   "https://github.com/nixpkgs-factory/factory/spdx/" + i.Name + "/" + strings.ReplaceAll(i.Digest, ":", "-"),
		Creation: creation{
			Created:  i.Created.UTC().Format("2006-01-02T15:04:05Z"),
			Creators: []string{"Tool: factory"},
		},
		Packages:      []entry{i.entry()},
		Relationships: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", imageID}},
	}
	sources := make(map[string]bool)
	objects := slices.SortedFunc(slices.Values(i.Objects), func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	for _, object := range objects {
		doc.add(object, i.Known[object.Path], licences, sources)
	}
	doc.Licensing = licences.extracted()
	data, err := json.MarshalIndent(doc, "", " ")
	return append(data, '\n'), err
}

// entry is the image itself. As package URLs have it, the digest stands for the
// version (https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md).
func (i Image) entry() entry {
	e := newEntry(imageID, i.Name, i.Digest, "CONTAINER")
	if algo, sum, ok := strings.Cut(i.Digest, ":"); ok {
		e.Checksums = []checksum{{strings.ToUpper(algo), sum}}
	}
	e.Refs = []reference{purl("pkg:oci/" + strings.ToLower(escape(i.Name)) + "@" + escape(i.Digest) + "?arch=" + escape(i.Arch))}
	return e
}

// add adds a store path, what it is made from, and what it needs.
func (d *document) add(object nix.PathInfo, meta Meta, licences *licensing, sources map[string]bool) {
	id := idOf(object.Path)
	name, version := SplitName(object.Path.Name())
	if meta.Name != "" {
		name, version = meta.Name, meta.Version
	}
	e := newEntry(id, name, version, "")
	e.File = object.Path.String()
	e.Checksums = []checksum{{"SHA256", object.NarHash.Base16()}}
	e.Info = "store path " + object.Path.String() + "; the checksum is that of its NAR"
	e.Homepage = address(meta.Homepage)
	e.Declared = licences.expression(meta.Licences)
	e.Refs = []reference{purl(nixPURL(name, version))}
	d.Packages = append(d.Packages, e)
	d.Relationships = append(d.Relationships, relationship{imageID, "CONTAINS", id})
	for _, ref := range sorted(object.References) {
		if ref != object.Path {
			d.Relationships = append(d.Relationships, relationship{id, "DEPENDS_ON", idOf(ref)})
		}
	}
	for _, s := range meta.Sources {
		from, ok := s.entry(name, version)
		if !ok {
			continue
		}
		if !sources[from.ID] {
			sources[from.ID] = true
			d.Packages = append(d.Packages, from)
		}
		d.Relationships = append(d.Relationships, relationship{id, "GENERATED_FROM", from.ID})
	}
}

func sorted(paths []nix.StorePath) []nix.StorePath {
	return slices.SortedFunc(slices.Values(paths), nix.StorePath.Compare)
}

// entry is a source as a package. One that nixpkgs gives no address of is nothing
// that anybody could look at.
func (s Source) entry(name, version string) (entry, bool) {
	at := address(s.URL)
	if at == "" {
		return entry{}, false
	}
	sum := sha256.Sum256([]byte(s.URL + " " + s.Hash))
	e := newEntry("SPDXRef-source-"+hex.EncodeToString(sum[:16]), name+" source", version, "SOURCE")
	e.Location = at
	hash, err := nix.ParseHash(s.Hash)
	switch {
	case err != nil:
	case s.Tree:
		e.Info = "unpacked, the hash of its NAR is " + hash.SRI()
	default:
		e.Checksums = []checksum{{"SHA256", hash.Base16()}}
	}
	return e, true
}

// idOf is the identifier of a store path in the document, in which there may be
// letters, digits, dots and dashes.
func idOf(p nix.StorePath) string {
	return "SPDXRef-" + strings.Map(func(r rune) rune {
		if isLetter(r) || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, p.Base())
}

func isLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
