// Package gittest writes revisions and tree ids that tests need in few digits.
package gittest

import (
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Rev is the revision of the given hex digits, repeated until there are 40.
func Rev(digits string) git.Rev { return must(git.ParseRev(fill(digits))) }

// TreeID is the tree id of the given hex digits, repeated until there are 40.
func TreeID(digits string) git.TreeID { return must(git.ParseTreeID(fill(digits))) }

func fill(digits string) string { return strings.Repeat(digits, 40)[:40] }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
