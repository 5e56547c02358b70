package sbom

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/github/go-spdx/v2/spdxexp"
	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"
	spdx "github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func storePath(t testing.TB, digit, name string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePath("/nix/store/" + strings.Repeat(digit, 32) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// image has bash with a library, something without a licence, and a font that
// may not be sold.
func image(t testing.TB) Image {
	glibc, bash, text, font := storePath(t, "b", "glibc-2.40-66"), storePath(t, "a", "bash-interactive-5.2p37"), storePath(t, "c", "builder.sh"), storePath(t, "d", "font_x+y?=z")
	return Image{
		Name:    "nixpkgs-nixos-26.05",
		Digest:  "sha256:" + strings.Repeat("0", 64),
		Arch:    "amd64",
		Created: time.Date(2026, 5, 31, 22, 0, 0, 0, time.FixedZone("", 7200)),
		Objects: []nix.PathInfo{
			{Path: text, NarHash: nix.Hash{3}},
			{Path: glibc, NarHash: nix.Hash{2}, References: []nix.StorePath{glibc}},
			{Path: bash, NarHash: nix.Hash{1}, References: []nix.StorePath{text, glibc}},
			{Path: font, NarHash: nix.Hash{4}},
		},
		Known: map[nix.StorePath]Meta{
			glibc: {Name: "glibc", Version: "2.40-66", Licences: []Licence{{SPDX: "LGPL-2.0-or-later", Name: "lgpl2Plus"}, {SPDX: "LLVM-exception", Name: "llvm-exception", Full: "LLVM Exception"}},
				Sources: []Source{{URL: "mirror://gnu/glibc/glibc-2.40.tar.xz", Hash: nix.Hash{9}.SRI()}}},
			bash: {Name: "bash-interactive", Version: "5.2p37", Homepage: "https://www.gnu.org/software/bash/", Licences: []Licence{{SPDX: "GPL-3.0-or-later", Name: "gpl3Plus"}, {SPDX: "GPL-3.0-or-later"}},
				Sources: []Source{{URL: "https://github.com/x/bash", Hash: nix.Hash{8}.SRI(), Tree: true}, {URL: "https://user:secret@example.org/x"}, {URL: "/home/somebody/x"}}},
			font: {Name: "font x", Licences: []Licence{{Name: "unfreeRedistributable", Full: "Unfree redistributable", URL: "https://example.org/licence"}, {}}},
		},
	}
}

func written(t testing.TB, i Image) []byte {
	t.Helper()
	data, err := i.SPDX()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// validated reads a document by the library of those who made the format, holds it
// against that library's rules, and each licence against the list of SPDX.
func validated(t testing.TB, data []byte) *spdx.Document {
	t.Helper()
	doc, err := spdxjson.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Errorf("%v\n%s", err, data)
	}
	own := map[string]bool{}
	for _, l := range doc.OtherLicenses {
		own[l.LicenseIdentifier] = true
	}
	seen := map[string]bool{}
	for _, p := range doc.Packages {
		if id := string(p.PackageSPDXIdentifier); seen[id] {
			t.Errorf("%s is there twice", id)
		} else {
			seen[id] = true
		}
		if p.PackageLicenseDeclared == none {
			continue
		}
		if ok, bad := spdxexp.ValidateLicenses([]string{p.PackageLicenseDeclared}); !ok {
			t.Errorf("%s: no licence expression: %v", p.PackageName, bad)
		}
		for _, id := range strings.Fields(p.PackageLicenseDeclared) {
			if strings.HasPrefix(id, "LicenseRef-") && !own[id] {
				t.Errorf("%s: the document does not say what %s is", p.PackageName, id)
			}
		}
	}
	return doc
}

func TestSPDX(t *testing.T) {
	doc := validated(t, written(t, image(t)))
	if doc.SPDXVersion != "SPDX-2.3" || doc.CreationInfo.Created != "2026-05-31T20:00:00Z" || !strings.HasSuffix(doc.DocumentNamespace, strings.Repeat("0", 64)) {
		t.Errorf("the document says %s, %+v, %s", doc.SPDXVersion, doc.CreationInfo, doc.DocumentNamespace)
	}
	said := map[string][]string{}
	for _, p := range doc.Packages {
		sums := ""
		for _, c := range p.PackageChecksums {
			sums += string(c.Algorithm) + ":" + c.Value[:2]
		}
		said[p.PackageName] = append(said[p.PackageName], strings.Join([]string{p.PackageVersion, p.PackageDownloadLocation, p.PackageLicenseDeclared, sums}, "|"))
	}
	want := map[string][]string{
		"nixpkgs-nixos-26.05":     {"sha256:" + strings.Repeat("0", 64) + "|NOASSERTION|NOASSERTION|SHA256:00"},
		"glibc":                   {"2.40-66|NOASSERTION|LGPL-2.0-or-later AND LicenseRef-nixpkgs-llvm-exception|SHA256:02"},
		"glibc source":            {"2.40-66|mirror://gnu/glibc/glibc-2.40.tar.xz|NOASSERTION|SHA256:09"},
		"bash-interactive":        {"5.2p37|NOASSERTION|GPL-3.0-or-later|SHA256:01"},
		"bash-interactive source": {"5.2p37|https://github.com/x/bash|NOASSERTION|"},
		"builder.sh":              {"|NOASSERTION|NOASSERTION|SHA256:03"},
		"font x":                  {"|NOASSERTION|LicenseRef-nixpkgs-unfreeRedistributable|SHA256:04"},
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	var relations []string
	for _, r := range doc.Relationships {
		if r.Relationship != "CONTAINS" {
			relations = append(relations, strings.Join([]string{string(r.RefA.ElementRefID)[:5], r.Relationship, string(r.RefB.ElementRefID)[:5]}, " "))
		}
	}
	slices.Sort(relations)
	if diff := cmp.Diff([]string{"DOCUM DESCRIBES image", "aaaaa DEPENDS_ON bbbbb", "aaaaa DEPENDS_ON ccccc", "aaaaa GENERATED_FROM sourc", "bbbbb GENERATED_FROM sourc"}, relations); diff != "" {
		t.Errorf("relationships (-want +got):\n%s", diff)
	}
}

// Nothing but the image decides the bytes.
func TestSPDXIsTheSame(t *testing.T) {
	i := image(t)
	first := written(t, i)
	slices.Reverse(i.Objects)
	for n := range i.Objects {
		slices.Reverse(i.Objects[n].References)
	}
	if !bytes.Equal(first, written(t, i)) {
		t.Error("in another order the document is another one")
	}
	if strings.Contains(string(first), "secret") || strings.Contains(string(first), "somebody") {
		t.Errorf("the document has what is nobody's business:\n%s", first)
	}
}

func TestSplitName(t *testing.T) {
	for full, want := range map[string][2]string{
		"hello-2.12":        {"hello", "2.12"},
		"bash-interactive":  {"bash-interactive", ""},
		"python3-3.12-x-1":  {"python3", "3.12-x-1"},
		"glibc-2.40-66-bin": {"glibc", "2.40-66-bin"},
		"x-":                {"x-", ""},
		"-":                 {"-", ""},
	} {
		if name, version := SplitName(full); name != want[0] || version != want[1] {
			t.Errorf("SplitName(%q) = %q, %q, want %q", full, name, version, want)
		}
	}
}

// Whatever nixpkgs says of a package, the document stays one.
func FuzzSPDX(f *testing.F) {
	meta, err := json.Marshal(Meta{Name: "a", Licences: []Licence{{SPDX: "MIT"}, {Name: "x y"}}, Sources: []Source{{URL: "https://example.org/%zz", Hash: "sha256-x"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(meta)
	f.Add([]byte(`{"name":"\u0000\ud800","version":"é","licences":[{"name":"--"},{"spdx":"(MIT"}],"homepage":"javascript:x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var meta Meta
		if json.Unmarshal(data, &meta) != nil {
			return
		}
		for i := range meta.Licences { // that it is on SPDX's list is nixpkgs' business
			if id := meta.Licences[i].SPDX; identifier.MatchString(id) {
				meta.Licences[i].SPDX = "MIT"
			}
		}
		i := image(t)
		i.Known = map[nix.StorePath]Meta{i.Objects[0].Path: meta, i.Objects[1].Path: meta}
		validated(t, written(t, i))
	})
}
