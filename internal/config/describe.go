package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// step is a key as part of a path.
func step(key string) string {
	if plainKey.MatchString(key) {
		return "." + brief(key)
	}
	return "." + strconv.Quote(brief(key))
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
		return "the number " + text
	case "!!bool":
		return "the truth value " + text
	case "!!timestamp":
		return "the date " + text
	default:
		return "a value tagged " + brief(tag)
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
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
