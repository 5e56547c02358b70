// Package git turns the texts in which git names its objects into values: the
// revision of a commit, and the id of a tree. The two look alike, and neither
// is ever taken for the other, nor for a branch or a tag.
//
// A value that is not zero has 40 digits of lower-case hex.
package git

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// Rev is the revision of a commit. Values can be compared with == and serve as
// map keys. The zero value means "none".
type Rev struct{ id }

// TreeID is the id of the tree that a commit has. It is what Rev is otherwise.
type TreeID struct{ id }

// ParseRev reads a full revision.
func ParseRev(s string) (Rev, error) {
	i, err := parse(s, "revision")
	return Rev{i}, err
}

// ParseTreeID reads the id of a tree.
func ParseTreeID(s string) (TreeID, error) {
	i, err := parse(s, "git tree")
	return TreeID{i}, err
}

// TreeIDOf is the id of the tree whose object has a SHA-1.
func TreeIDOf(sum [sha1.Size]byte) TreeID { return TreeID{id{hex.EncodeToString(sum[:])}} }

// UnmarshalText accepts a full revision; an empty text is none.
func (r *Rev) UnmarshalText(text []byte) (err error) {
	*r = Rev{}
	if len(text) > 0 {
		*r, err = ParseRev(string(text))
	}
	return err
}

// UnmarshalText accepts the id of a tree; an empty text is none.
func (t *TreeID) UnmarshalText(text []byte) (err error) {
	*t = TreeID{}
	if len(text) > 0 {
		*t, err = ParseTreeID(string(text))
	}
	return err
}

// Equal reports whether r == other, for packages that compare values by their methods.
func (r Rev) Equal(other Rev) bool { return r == other }

// Equal reports whether t == other, likewise.
func (t TreeID) Equal(other TreeID) bool { return t == other }

const digits = 2 * sha1.Size

// id is what a SHA-1 of git is written as.
type id struct{ hex string }

func parse(s, what string) (id, error) {
	if len(s) != digits || strings.Trim(s, "0123456789abcdef") != "" {
		return id{}, fmt.Errorf("%.60q is not a %s (want %d digits of lower-case hex)", s, what, digits)
	}
	return id{strings.Clone(s)}, nil
}

// String returns the 40 digits, or "" for none.
func (i id) String() string { return i.hex }

// Short returns the first n digits, or "" for none.
func (i id) Short(n int) string { return i.hex[:min(n, len(i.hex))] }

// IsZero reports whether i is none.
func (i id) IsZero() bool { return i.hex == "" }

// MarshalText returns the 40 digits, or nothing for none.
func (i id) MarshalText() ([]byte, error) { return []byte(i.hex), nil }
