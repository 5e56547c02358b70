package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/agnivade/levenshtein"
	"gopkg.in/yaml.v3"
)

// parser walks the nodes of a file and notes every problem it meets.
type parser struct {
	file, dir string
	errs      []*Error
	reported  map[*yaml.Node]bool // nodes that hold a secret: told once, never read or repeated
	secrets   map[string]bool     // the secrets told so far
	budget    int                 // values that may still be read
	exhausted bool
	optional  []optional // of the channels so far
}

const maxValues = 20_000 // bounds the work that lists of aliases to lists can cause

func newParser(file string) *parser {
	return &parser{
		file:     file,
		dir:      filepath.Dir(file),
		reported: map[*yaml.Node]bool{},
		secrets:  map[string]bool{},
		budget:   maxValues,
	}
}

// value is a node and how one gets there.
type value struct {
	node *yaml.Node // not an alias
	path *path
}

// enter makes the value of a node, seen through aliases.
func enter(node *yaml.Node, at *path) value {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return value{node: node, path: at}
}

func (p *parser) errorf(v value, format string, args ...any) {
	p.report(v.node.Line, v.node.Column, v.path.String(), fmt.Sprintf(format, args...))
}

// wrong tells that a value is of another kind than wanted.
func (p *parser) wrong(v value, want string) {
	if !p.reported[v.node] {
		p.errorf(v, "found %s (want %s)", describe(v.node), want)
	}
}

// spend counts a value, and says no when there were too many.
func (p *parser) spend(v value) bool {
	p.budget--
	if p.budget < 0 && !p.exhausted {
		p.exhausted = true
		p.errorf(v, "more than %d values in one file", maxValues)
	}
	return p.budget >= 0
}

// field is a key that a mapping may have.
type field struct {
	key     string
	missing string // the problem when the key is not there; "" when it may be left out
	decode  func(value)
}

// mapping reads a mapping with known keys. It returns those that are there, nil
// when the value is no mapping.
func (p *parser) mapping(v value, want string, fields []field) lines {
	seen := p.entries(v, want, keys(fields), func(key, v value) {
		if f := find(fields, key.node.Value); f != nil {
			f.decode(v)
		} else {
			p.unknown(key, fields)
		}
	})
	for _, f := range fields {
		if _, ok := seen[f.key]; seen != nil && !ok && f.missing != "" {
			p.missing(v, f)
		}
	}
	return seen
}

// missing tells that a mapping lacks a key.
func (p *parser) missing(v value, f field) {
	p.errorf(value{node: v.node, path: &path{parent: v.path, key: f.key}}, "%s", f.missing)
}

// entries decodes the entries of a mapping in the order of the file. It returns
// their keys, nil when the value is no mapping.
func (p *parser) entries(v value, want, wantKey string, decode func(key, v value)) lines {
	if v.node.Kind != yaml.MappingNode {
		p.wrong(v, want)
		return nil
	}
	seen := lines{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := enter(v.node.Content[i], v.path)
		if key.node.Kind != yaml.ScalarNode {
			p.errorf(key, "found %s as a key (want %s)", describe(key.node), wantKey)
			continue
		}
		key.path = &path{parent: v.path, key: key.node.Value}
		if p.reported[key.node] || !p.spend(key) || !p.unique(seen, key, "key", key.node.Value) {
			continue
		}
		decode(key, enter(v.node.Content[i+1], key.path))
	}
	return seen
}

func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// renamed are keys that had another name.
var renamed = map[string]string{"caches": "upload"}

// unknown tells of a key that the mapping cannot have, and which one may have been meant.
func (p *parser) unknown(key value, fields []field) {
	if key.node.Value == "<<" {
		p.errorf(key, "merge keys are not supported (want %s)", keys(fields))
		return
	}
	if now := renamed[key.node.Value]; now != "" && find(fields, now) != nil {
		p.errorf(key, "this key is %s now", now)
		return
	}
	near := fields[0].key
	for _, f := range fields[1:] {
		if distance(key.node.Value, f.key) < distance(key.node.Value, near) {
			near = f.key
		}
	}
	msg := "unknown key"
	if distance(key.node.Value, near) <= 1+len(near)/2 {
		msg += ", did you mean " + near + "?"
	}
	p.errorf(key, "%s (want %s)", msg, keys(fields))
}

func distance(a, b string) int {
	const enough = 64 // no key is as long; bounds the work on keys that are
	return levenshtein.ComputeDistance(strings.ToLower(a[:min(len(a), enough)]), b)
}

func keys(fields []field) string {
	return alternatives(fields, func(f field) string { return f.key })
}

// list gives the items of a list that must not be empty.
func (p *parser) list(v value, noun, want string) []value {
	if len(v.node.Content) == 0 && v.node.Kind == yaml.SequenceNode || v.node.ShortTag() == "!!null" {
		p.errorf(v, "no %ss (want %s)", noun, want)
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		p.wrong(v, want)
		return nil
	}
	var items []value
	for i, node := range v.node.Content {
		item := enter(node, &path{parent: v.path, item: true, index: i})
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
// a name that is the same for all ways to write it. The name "" is one that
// could not be read.
func (p *parser) unique(seen lines, v value, noun, name string) bool {
	if name == "" && noun != "key" {
		return false
	}
	if line, ok := seen[name]; ok {
		p.errorf(v, "duplicate %s %q, first on line %d", noun, v.node.Value, line)
		return false
	}
	seen[name] = v.node.Line
	return true
}
