package toolset

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// text is a text of a toolset that enters the image.
type text struct{ field, text string }

// texts returns all of them in an order of its own.
func (t Toolset) texts() []text {
	var all []text
	add := func(values iter.Seq2[string, string]) {
		for field, value := range values {
			all = append(all, text{field, value})
		}
	}
	add(set("env", t.Env))
	add(set("files", t.Files))
	add(set("links", t.Links))
	add(set("labels", t.Labels))
	add(list("entrypoint", t.Entrypoint))
	add(list("cmd", t.Cmd))
	return append(all, text{"version", t.Version})
}

func set(name string, values map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if !yield(fmt.Sprintf("%s.%q", name, key), values[key]) {
				return
			}
		}
	}
}

func list(name string, values []string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, value := range values {
			if !yield(fmt.Sprintf("%s[%d]", name, i), value) {
				return
			}
		}
	}
}

// shortest is how much of a revision is taken for one: no text has as many hex
// digits by chance.
const shortest = 12

// independent refuses an image without nixpkgs that is another one for every
// commit all the same.
func (t Toolset) independent(of Args) error {
	told := []text{
		{"the commit", of.Rev.Short(shortest)},
		{"the store path of nixpkgs", of.Source.String()},
		{"the store path of nixpkgs", of.SourceAlias.String()},
		{"the hash of nixpkgs", of.NarHash.SRI()},
		{"the time of the commit", strconv.FormatInt(of.LastModified, 10)},
	}
	if of.LastModified == 0 || of.NarHash == (nix.Hash{}) {
		told = told[:3]
	}
	for _, has := range t.texts() {
		for _, fact := range told {
			if fact.text != "" && strings.Contains(has.text, fact.text) {
				return fmt.Errorf("%s: it has %s in it, and an image without nixpkgs is the same for all commits", has.field, fact.field)
			}
		}
	}
	return nil
}
