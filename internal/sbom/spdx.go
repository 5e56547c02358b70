package sbom

import (
	"net/url"
	"strings"
)

// document is an SPDX document as it is in JSON
// (https://github.com/spdx/spdx-spec/blob/v2.3/schemas/spdx-schema.json).
type document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []entry        `json:"packages"`
	Relationships []relationship `json:"relationships"`
	Licensing     []extracted    `json:"hasExtractedLicensingInfos,omitempty"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// entry is a package.
type entry struct {
	ID        string      `json:"SPDXID"`
	Name      string      `json:"name"`
	Version   string      `json:"versionInfo,omitempty"`
	File      string      `json:"packageFileName,omitempty"`
	Purpose   string      `json:"primaryPackagePurpose,omitempty"`
	Location  string      `json:"downloadLocation"`
	Analyzed  bool        `json:"filesAnalyzed"`
	Checksums []checksum  `json:"checksums,omitempty"`
	Homepage  string      `json:"homepage,omitempty"`
	Info      string      `json:"sourceInfo,omitempty"`
	Concluded string      `json:"licenseConcluded"`
	Declared  string      `json:"licenseDeclared"`
	Copyright string      `json:"copyrightText"`
	Refs      []reference `json:"externalRefs,omitempty"`
}

// newEntry is a package of which nothing else is known.
func newEntry(id, name, version, purpose string) entry {
	return entry{ID: id, Name: name, Version: version, Purpose: purpose, Location: none, Concluded: none, Declared: none, Copyright: none}
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// extracted is a licence that SPDX has no identifier for.
type extracted struct {
	ID   string   `json:"licenseId"`
	Name string   `json:"name"`
	Text string   `json:"extractedText"`
	See  []string `json:"seeAlsos,omitempty"`
}

func purl(locator string) reference { return reference{"PACKAGE-MANAGER", "purl", locator} }

// nixPURL is a package URL of the type that tools use for what Nix builds. The type
// is proposed (https://github.com/package-url/purl-spec), and says no more than name
// and version.
func nixPURL(name, version string) string {
	if version == "" {
		return "pkg:nix/" + escape(name)
	}
	return "pkg:nix/" + escape(name) + "@" + escape(version)
}

func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// address is a URL of nixpkgs' as SPDX takes it, "" for what is none. Mirrors have
// a scheme that only nixpkgs knows.
func address(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	switch u.Scheme {
	case "http", "https", "git+https", "ftp", "mirror":
		return u.String()
	}
	return ""
}

// SplitName takes the name of a store path apart as Nix does: the version begins
// behind the first dash that no letter follows.
func SplitName(full string) (name, version string) {
	for i := 0; i+1 < len(full); i++ {
		if full[i] == '-' && !('a' <= full[i+1]|0x20 && full[i+1]|0x20 <= 'z') {
			return full[:i], full[i+1:]
		}
	}
	return full, ""
}
