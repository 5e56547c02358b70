package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"gopkg.in/yaml.v3"
)

// parser walks the nodes of a file and notes every problem it meets.
type parser struct {
	file     string
	errs     []*Error
	reported map[*yaml.Node]bool // nodes that hold a secret: told once, never read or repeated
	secrets  map[string]bool     // the secrets told so far
	budget   int                 // values that may still be read; negative once there were too many
	later    []func()            // checks that need all of the file
}

const (
	maxValues = 20_000 // bounds the work that lists of aliases to lists can cause
	maxPath   = 1000   // bytes, and that of paths
)

// Error is one problem of a configuration file. Its message holds no secret
// that the file may hold.
type Error struct {
	File   string
	Line   int    // from 1
	Column int    // from 1, in characters; 0 when only the line is known
	Path   string // such as channels[2].systems[0]; "" for the file as a whole
	Msg    string
}

// Error gives file, line, column, path and message, as compilers do.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:", e.File, e.Line)
	if e.Column > 0 {
		s += fmt.Sprintf("%d:", e.Column)
	}
	if e.Path != "" {
		s += " " + e.Path + ":"
	}
	return s + " " + e.Msg
}

// report notes a problem at a place of the file.
func (p *parser) report(line, column int, path, format string, args ...any) {
	msg := redact(fmt.Sprintf(format, args...))
	p.errs = append(p.errs, &Error{File: p.file, Line: line, Column: column, Path: redact(path), Msg: msg})
}

func (p *parser) errorf(v value, format string, args ...any) {
	p.report(v.node.Line, v.node.Column, v.path, format, args...)
}

// wrong tells that a value is of another kind than wanted.
func (p *parser) wrong(v value, want string) {
	if !p.reported[v.node] {
		p.errorf(v, "found %s (want %s)", describe(v.node), want)
	}
}

// err gives what was reported, in the order of the file. A problem in a part
// that several aliases share is told once for each path that leads to it.
func (p *parser) err() error {
	slices.SortStableFunc(p.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	p.errs = slices.CompactFunc(p.errs, func(a, b *Error) bool { return *a == *b })
	errs := make([]error, len(p.errs))
	for i, e := range p.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// value is a node and the path that leads to it, as people write it.
type value struct {
	node *yaml.Node
	path string
}

// entry is a value of a mapping, item one of a list.
func (v value) entry(key string, node *yaml.Node) value { return v.below(step(key), node) }
func (v value) item(i int, node *yaml.Node) value       { return v.below("["+strconv.Itoa(i)+"]", node) }

func (v value) below(step string, node *yaml.Node) value {
	if len(v.path) > maxPath {
		return value{node, v.path}
	}
	return value{node, strings.TrimPrefix(v.path+step, ".")}
}

// root is the key at the top of the file that the value belongs to.
func (v value) root() string {
	root, _, _ := strings.Cut(strings.ReplaceAll(v.path, "[", "."), ".")
	return root
}

// resolved is the value that an alias stands for.
func (v value) resolved() value {
	for v.node.Kind == yaml.AliasNode {
		v.node = v.node.Alias
	}
	return v
}

// spend counts a value, and says no when there were too many.
func (p *parser) spend(v value) bool {
	if p.budget--; p.budget == -1 {
		p.errorf(v, "more than %d values in one file", maxValues)
	}
	return p.budget >= 0
}

// entries reads the entries of a mapping in the order of the file. It is false
// when the value is no mapping.
func (p *parser) entries(v value, want, wantKey string, read func(key, v value)) bool {
	if v.node.Kind != yaml.MappingNode {
		p.wrong(v, want)
		return false
	}
	seen := lines{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := value{v.node.Content[i], v.path}.resolved()
		if key.node.Kind != yaml.ScalarNode {
			p.errorf(key, "found %s as a key (want %s)", describe(key.node), wantKey)
			continue
		}
		key = v.entry(key.node.Value, key.node)
		if p.reported[key.node] || !p.spend(key) || !p.unique(seen, key, "key", key.node.Value) {
			continue
		}
		read(key, v.entry(key.node.Value, v.node.Content[i+1]).resolved())
	}
	return true
}

// mapping reads a mapping with known keys. It returns the value that names it;
// none when there is none, or when it cannot be used.
func (p *parser) mapping(v value, want string, keys []key) (name value) {
	found, kinds := map[string]bool{}, map[string]bool{}
	if !p.entries(v, want, alternatives(keys, key.String), func(at, v value) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == at.node.Value })
		if i < 0 {
			p.unknown(at, keys)
			return
		}
		k := keys[i]
		if found[k.name], kinds[k.kind] = true, true; k.names {
			name = v
		}
		k.rule.read(p, v)
	}) || p.budget < 0 { // what was not read is not missing
		return value{}
	}
	delete(kinds, "")
	if keys[0].kind != "" && len(kinds) != 1 {
		p.errorf(v, "found %d caches in one item (want %s)", len(kinds), want)
		return value{}
	}
	for _, k := range keys {
		switch {
		case found[k.name]:
		case k.value != "":
			k.rule.read(p, v.entry(k.name, parsed(k.value)))
		case k.missing != "" && (k.kind == "" || kinds[k.kind]):
			p.errorf(v.entry(k.name, v.node), "%s (want %s)", k.missing, k.rule.want)
		}
	}
	return name
}

// renamed are keys that had another name.
var renamed = map[string]string{"caches": "upload", "image": "images"}

// unknown tells of a key that the mapping cannot have, and which one may have been meant.
func (p *parser) unknown(v value, keys []key) {
	name, want := v.node.Value, alternatives(keys, key.String)
	near := slices.MinFunc(keys, func(a, b key) int { return cmp.Compare(distance(name, a.name), distance(name, b.name)) }).name
	switch now := renamed[name]; {
	case name == "<<":
		p.errorf(v, "merge keys are not supported (want %s)", want)
	case now != "" && slices.ContainsFunc(keys, func(k key) bool { return k.name == now }):
		p.errorf(v, "this key is %s now", now)
	case distance(name, near) <= min(len(name), 1+len(near)/2):
		p.errorf(v, "unknown key, did you mean %s? (want %s)", near, want)
	default:
		p.errorf(v, "unknown key (want %s)", want)
	}
}

func distance(a, b string) int {
	const enough = 64 // no key is as long; bounds the work on keys that are
	return levenshtein.ComputeDistance(strings.ToLower(a[:min(len(a), enough)]), b)
}

// items gives the items of a list that must not be empty.
func (p *parser) items(v value, noun, want string) []value {
	switch {
	case v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0, v.node.ShortTag() == "!!null":
		p.errorf(v, "no %ss (want %s)", noun, want)
		return nil
	case v.node.Kind != yaml.SequenceNode:
		p.wrong(v, want)
		return nil
	}
	var items []value
	for i, node := range v.node.Content {
		item := v.item(i, node).resolved()
		if !p.spend(item) {
			break
		}
		items = append(items, item)
	}
	return items
}

// lines remembers on which line a name stood first.
type lines map[string]int

// unique tells of a value that stood in the same list or mapping before, under
// a name that is the same for all ways to write it. What could not be read has no
// name, or none that is anywhere.
func (p *parser) unique(seen lines, v value, noun, name string) bool {
	if v.node == nil || name == "" && noun != "key" {
		return false
	}
	if line, ok := seen[name]; ok {
		p.errorf(v, "duplicate %s %q, first on line %d", noun, v.node.Value, line)
		return false
	}
	seen[name] = v.node.Line
	return true
}
