package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// path is a step into the document; nil is its root.
type path struct {
	parent *path
	key    string // of a mapping
	item   bool   // an item of a list instead
	index  int
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// String is the path as people write it: channels[2].systems[0].
func (p *path) String() string {
	var steps []string
	for ; p != nil; p = p.parent {
		switch {
		case p.item:
			steps = append(steps, "["+strconv.Itoa(p.index)+"]")
		case plainKey.MatchString(p.key):
			steps = append(steps, "."+brief(p.key))
		default:
			steps = append(steps, "."+strconv.Quote(brief(p.key)))
		}
	}
	var s strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		s.WriteString(steps[i])
	}
	return strings.TrimPrefix(s.String(), ".")
}

// root is the first step of the path: the key at the top of the file.
func (p *path) root() string {
	if p == nil {
		return ""
	}
	for p.parent != nil {
		p = p.parent
	}
	return p.key
}

// describe says in a few words what a node is.
func describe(n *yaml.Node) string {
	text := brief(n.Value)
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "nothing"
	case "!!str":
		return fmt.Sprintf("the text %q", text)
	case "!!int", "!!float":
		return fmt.Sprintf("the number %s", text)
	case "!!bool":
		return fmt.Sprintf("the truth value %s", text)
	case "!!timestamp":
		return fmt.Sprintf("the date %s", text)
	default:
		return fmt.Sprintf("a value tagged %s", brief(tag))
	}
}

// brief is the beginning of a text. What is secret is hidden first: half of a
// secret no longer looks like one.
func brief(s string) string {
	const most = 40
	if r := []rune(redact(s)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return redact(s)
}

// alternatives lists what may stand at a place: a, b or c. There is at least one.
func alternatives[T any](all []T, name func(T) string) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = name(one)
	}
	if last := len(names) - 1; last > 0 {
		return strings.Join(names[:last], ", ") + " or " + names[last]
	}
	return names[0]
}
