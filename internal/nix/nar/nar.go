// Package nar turns Nix archives into a sequence of entries, and back.
//
// A Nix archive (NAR) is the one serialisation of a tree of files
// that the hashes of Nix are computed from.
// Every tree has exactly one archive, and Reader accepts nothing but that:
// what it reads without an error, Writer writes again byte for byte.
// The paths of the entries are relative, free of "." and "..",
// unique, and never lead through a symbolic link.
//
// For the tree
//
//	bin/
//	bin/hello   executable, 5 bytes
//	readme      link to doc
//
// the sequence is
//
//	{Path: "", Kind: Directory}
//	{Path: "bin", Kind: Directory}
//	{Path: "bin/hello", Kind: Regular, Executable: true, Size: 5}
//	{Path: "readme", Kind: Symlink, Target: "doc"}
//
// The format is described in the Nix manual under "Nix Archive (NAR) format";
// the limits on lengths and depth are those that Nix enforces since 2.35.
package nar

import (
	"fmt"
	"strings"
)

// Kind is the type of a file. The zero value is Directory.
type Kind int

const (
	Directory Kind = iota
	Regular
	Symlink
)

// String returns the word that stands for the kind in an archive.
func (k Kind) String() string {
	switch k {
	case Directory:
		return "directory"
	case Regular:
		return "regular"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Entry describes one file of an archive.
type Entry struct {
	Path       string // names joined by "/"; "" for the root. Names are bytes, not always UTF-8.
	Kind       Kind
	Executable bool   // of a Regular
	Size       int64  // bytes of a Regular
	Target     string // of a Symlink, verbatim: it may dangle, be absolute or lead out of the tree
}

const (
	magic     = "nix-archive-1"
	maxWord   = 32   // bytes of a keyword; the longest is magic
	maxName   = 255  // bytes of a name
	maxTarget = 4095 // bytes of a link's target
	maxDepth  = 64   // nodes from the root down, both ends counted

	wordSize   = 8 // lengths take so many bytes, and strings are padded to a multiple of it
	bufferSize = 64 << 10
)

// folder is a directory whose end has not been reached.
type folder struct {
	path string
	last string // name of the entry seen last; "" for none
}

// check returns an error if an entry with a name cannot come next in the folder.
func (f folder) check(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("bad name %q", name)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes (at most %d)", len(name), maxName)
	case name == f.last:
		return fmt.Errorf("a second %q", name)
	case name < f.last:
		return fmt.Errorf("%q after %q: not in order", name, f.last)
	}
	return nil
}

// child returns the path of an entry.
func (f folder) child(name string) string {
	if f.path == "" {
		return name
	}
	return f.path + "/" + name
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return fmt.Errorf("link without a target")
	case len(target) > maxTarget:
		return fmt.Errorf("target of %d bytes (at most %d)", len(target), maxTarget)
	case strings.Contains(target, "\x00"):
		return fmt.Errorf("NUL in the target %q", target)
	}
	return nil
}

func checkDepth(depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("deeper than %d nodes", maxDepth)
	}
	return nil
}

// padding returns how many zeros follow a string of n bytes.
func padding(n int64) int { return int(-n & (wordSize - 1)) }
