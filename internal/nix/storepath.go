package nix

import (
	"fmt"
	"slices"
	"strings"
)

const (
	digestLen  = 32  // characters of base 32, 160 bits
	maxNameLen = 211 // so that the base name and a suffix like ".lock" stay below 255 bytes
)

// StorePath names a store object: "/nix/store/", 32 characters of base 32, "-", a name.
// Values can be compared with == and serve as map keys. The zero value means "none".
type StorePath struct{ full string }

// ParseStorePath reads a full store path. A path to a file inside of a store object is refused.
func ParseStorePath(full string) (StorePath, error) {
	base, ok := strings.CutPrefix(full, StoreDir+"/")
	if !ok {
		return StorePath{}, fmt.Errorf("store path %q: not below %s", full, StoreDir)
	}
	if err := checkBase(base); err != nil {
		return StorePath{}, fmt.Errorf("store path %q: %w", full, err)
	}
	return StorePath{strings.Clone(full)}, nil
}

// ParseStorePathBase reads the last component of a store path, as narinfo files list references.
func ParseStorePathBase(base string) (StorePath, error) {
	if err := checkBase(base); err != nil {
		return StorePath{}, fmt.Errorf("store path %q: %w", base, err)
	}
	return StorePath{StoreDir + "/" + base}, nil
}

func checkBase(base string) error {
	if len(base) < digestLen+1 || base[digestLen] != '-' || !isBase32(base[:digestLen]) {
		return fmt.Errorf("does not start with a digest of %d characters and a hyphen", digestLen)
	}
	return checkName(base[digestLen+1:])
}

// checkName is as strict as the strictest version of Nix:
// some accept names with a leading dot, even "..".
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("empty name")
	case len(name) > maxNameLen:
		return fmt.Errorf("name of %d bytes (at most %d)", len(name), maxNameLen)
	case name[0] == '.':
		return fmt.Errorf("name %q starts with a dot", name)
	}
	if n := nameLen(name); n < len(name) {
		return fmt.Errorf("name %q: bad character %q", name, name[n:n+1])
	}
	return nil
}

// nameLen returns for how many bytes s can be part of a name.
func nameLen(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("+-._?=", c) >= 0:
		default:
			return i
		}
	}
	return len(s)
}

// FindStorePaths returns the store paths that occur in a text, sorted, each once.
// A name extends as far as its characters do; what comes after it,
// as in "/nix/store/…-bash/bin/sh" or in a colon-separated list, is skipped.
func FindStorePaths(text string) []StorePath {
	var found []StorePath
	for {
		_, rest, ok := strings.Cut(text, StoreDir+"/")
		if !ok {
			break
		}
		if p, err := ParseStorePathBase(rest[:nameLen(rest)]); err == nil {
			found = append(found, p)
		}
		text = rest
	}
	return sortedPaths(found)
}

// sortedPaths returns the paths in bytewise order, each once. The argument stays as it is.
func sortedPaths(paths []StorePath) []StorePath {
	ascending := true
	for i := 1; i < len(paths) && ascending; i++ {
		ascending = paths[i-1].Compare(paths[i]) < 0
	}
	if ascending {
		return paths
	}
	paths = slices.Clone(paths)
	slices.SortFunc(paths, StorePath.Compare)
	return slices.Compact(paths)
}

// String returns the full path, or "" for none.
func (p StorePath) String() string { return p.full }

// Base returns the path without the store folder.
func (p StorePath) Base() string {
	if p.IsZero() {
		return ""
	}
	return p.full[len(StoreDir)+1:]
}

// Digest returns the 32 characters by which binary caches know the object.
func (p StorePath) Digest() string {
	if p.IsZero() {
		return ""
	}
	return p.Base()[:digestLen]
}

// Name returns what follows the digest and its hyphen.
func (p StorePath) Name() string {
	if p.IsZero() {
		return ""
	}
	return p.Base()[digestLen+1:]
}

// IsZero reports whether p is no path.
func (p StorePath) IsZero() bool { return p.full == "" }

// Equal reports whether p == q, for packages that compare values by their methods.
func (p StorePath) Equal(q StorePath) bool { return p == q }

// Compare orders paths bytewise, as Nix does in signatures and hashes.
func (p StorePath) Compare(q StorePath) int { return strings.Compare(p.full, q.full) }

// MarshalText returns the full path, or nothing for none.
func (p StorePath) MarshalText() ([]byte, error) { return []byte(p.full), nil }

// UnmarshalText accepts a full path; an empty text is none.
func (p *StorePath) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*p = StorePath{}
		return nil
	}
	*p, err = ParseStorePath(string(text))
	return err
}

// BaseName is a StorePath that is written without the store folder.
type BaseName struct{ StorePath }

// MarshalText returns the base name, or nothing for none.
func (b BaseName) MarshalText() ([]byte, error) { return []byte(b.Base()), nil }

// UnmarshalText accepts a base name; an empty text is none.
func (b *BaseName) UnmarshalText(text []byte) (err error) {
	*b = BaseName{}
	if len(text) > 0 {
		b.StorePath, err = ParseStorePathBase(string(text))
	}
	return err
}
