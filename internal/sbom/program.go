package sbom

import (
	"encoding/json"
	"runtime/debug"
	"strings"
	"time"
)

// Program is a file that Go has compiled.
type Program struct {
	Name    string // of the file
	SHA256  string // of its bytes, in hex
	Created time.Time
	Built   *debug.BuildInfo // what Go has written into it
}

// SPDX returns the document: the program, the modules it was compiled from, and Go's
// own library. A module has no hash there: the one of go.sum, which is that of a list of
// hashes, is told as text.
func (p Program) SPDX() ([]byte, error) {
	const program, library = "SPDXRef-program", "SPDXRef-go"
	file := newEntry(program, p.Name, p.Built.Main.Version, "APPLICATION")
	file.File = p.Name
	file.Checksums = []checksum{{"SHA256", p.SHA256}}
	file.Homepage = "https://" + p.Built.Main.Path
	file.Declared = "MIT"
	file.Refs = []reference{goPURL(p.Built.Main.Path, p.Built.Main.Version)}
	version := strings.TrimPrefix(p.Built.GoVersion, "go")
	stdlib := newEntry(library, "stdlib", version, "LIBRARY")
	stdlib.Homepage = "https://go.dev"
	stdlib.Refs = []reference{goPURL("stdlib", version)}
	doc := document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: p.Name,
		Namespace: "https://github.com/nixpkgs-factory/factory/spdx/program/" + p.SHA256,
		Creation:  creation{Created: p.Created.UTC().Format("2006-01-02T15:04:05Z"), Creators: []string{"Tool: factory"}},
		Packages:  []entry{file, stdlib},
		Relationships: []relationship{
			{"SPDXRef-DOCUMENT", "DESCRIBES", program},
			{program, "DEPENDS_ON", library},
		},
	}
	for _, m := range p.Built.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		e := module(*m)
		doc.Packages = append(doc.Packages, e)
		doc.Relationships = append(doc.Relationships, relationship{program, "DEPENDS_ON", e.ID})
	}
	data, err := json.MarshalIndent(doc, "", " ")
	return append(data, '\n'), err
}

// module is one as a package. Its path is unique in a program.
func module(m debug.Module) entry {
	id := strings.Map(func(r rune) rune {
		if isLetter(r) || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, m.Path)
	e := newEntry("SPDXRef-module-"+id, m.Path, m.Version, "LIBRARY")
	e.Refs = []reference{goPURL(m.Path, m.Version)}
	if m.Sum != "" {
		e.Info = "in go.sum it is " + m.Sum
	}
	return e
}

// goPURL is a package URL (https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md).
func goPURL(path, version string) reference {
	if version == "" || version == "(devel)" {
		return purl("pkg:golang/" + strings.ToLower(path))
	}
	return purl("pkg:golang/" + strings.ToLower(path) + "@" + escape(version))
}
