// Package debian turns the packages installed on a Debian system into a
// manifest: which of their files make up which package of the miniature
// nixpkgs, with the SHA-256 of each file and the packages its programs need.
//
// The manifest depends on nothing but the installed files:
// the same packages on another machine give the same manifest.
package debian

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Manifest is the content of pkgs/manifest.json.
type Manifest struct {
	System   string              `json:"system"`   // the Nix system of this machine
	Packages map[string]*Package `json:"packages"` // by attribute name
}

// A Package is one package of the miniature nixpkgs.
type Package struct {
	Name    string    `json:"pname"`
	Version string    `json:"version"` // Debian's upstream version
	Outputs []*Output `json:"outputs"` // the first is the default
}

// An Output is one output of a package.
// Its files differ in what the builder does with them.
type Output struct {
	Name      string `json:"name"`
	Needs     []Need `json:"needs,omitempty"`   // where Programs and Libraries find libraries
	Programs  []File `json:"program,omitempty"` // ELF with an interpreter
	Libraries []File `json:"library,omitempty"` // ELF without
	Loaders   []File `json:"loader,omitempty"`  // glibc's own ELF files, which are not to be changed
	Scripts   []File `json:"script,omitempty"`  // their interpreter becomes the store's bash
	Data      []File `json:"data,omitempty"`    // not executable
	Links     []Link `json:"links,omitempty"`
}

// A Need is an output that an output's files are linked against.
type Need struct {
	Package string `json:"package"` // its Name
	Output  string `json:"output"`
}

// A File is a file of the machine, and its place in the output.
type File struct {
	From   string `json:"from"` // absolute; symbolic links are followed
	To     string `json:"to"`
	SHA256 string `json:"sha256"` // base16
}

// A Link is a symbolic link in the output.
type Link struct {
	To     string `json:"to"` // the link's place
	Target string `json:"target"`
}

// A MissingError lists Debian packages that are not installed.
type MissingError struct{ Packages []string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("these Debian packages are not installed: %s (hint: apt-get install %[1]s)", strings.Join(e.Packages, " "))
}

// dpkg is where Debian keeps the list of what is installed.
const dpkg = "/var/lib/dpkg"

func noDebian(err error) error {
	return fmt.Errorf("the packages are made of Debian's, and this is no Debian system: %w", err)
}

// Read makes the manifest of the machine it runs on.
func Read() (Manifest, error) {
	if runtime.GOARCH != "amd64" {
		return Manifest{}, fmt.Errorf("the packages are made of x86_64 programs, and this machine is %s", runtime.GOARCH)
	}
	db, err := openDatabase(dpkg)
	if err != nil {
		return Manifest{}, err
	}
	if missing := db.missing(required()); len(missing) > 0 {
		return Manifest{}, &MissingError{Packages: missing}
	}
	c := &collector{db: db, packages: map[string]*Package{}, libraries: map[string]Need{}, done: map[string]bool{}}
	if err := c.collect(); err != nil {
		return Manifest{}, err
	}
	for _, p := range c.packages {
		p.sort()
	}
	return Manifest{System: "x86_64-linux", Packages: c.packages}, nil
}

func (p *Package) sort() {
	for _, o := range p.Outputs {
		slices.SortFunc(o.Needs, func(a, b Need) int {
			if c := strings.Compare(a.Package, b.Package); c != 0 {
				return c
			}
			return strings.Compare(a.Output, b.Output)
		})
		for _, files := range [][]File{o.Programs, o.Libraries, o.Loaders, o.Scripts, o.Data} {
			slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.To, b.To) })
		}
		slices.SortFunc(o.Links, func(a, b Link) int { return strings.Compare(a.To, b.To) })
	}
}

// output returns the output of that name, which is added if need be.
func (p *Package) output(name string) *Output {
	for _, o := range p.Outputs {
		if o.Name == name {
			return o
		}
	}
	o := &Output{Name: name}
	p.Outputs = append(p.Outputs, o)
	return o
}

func (o *Output) need(n Need) {
	if !slices.Contains(o.Needs, n) {
		o.Needs = append(o.Needs, n)
	}
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

//go:embed collect.go database.go debian.go packages.go
var code embed.FS

// State is a digest of dpkg's list of installed packages and of the code of this package:
// as long as it is the same, so is the manifest.
func State() (string, error) {
	status, err := os.ReadFile(filepath.Join(dpkg, "status"))
	if err != nil {
		return "", noDebian(err)
	}
	h := sha256.New()
	h.Write(status)
	files, err := code.ReadDir(".")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		data, err := code.ReadFile(f.Name())
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)[:10]), nil
}
