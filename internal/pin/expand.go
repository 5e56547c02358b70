package pin

import (
	"regexp"
	"strings"
)

var variablePattern = regexp.MustCompile(`^\$(?:([a-zA-Z_][a-zA-Z0-9_]*)|\{([a-zA-Z_][a-zA-Z0-9_]*)(:?-[^{}$]*)?\})`)

// mostExpanded is how long a value may get.
const mostExpanded = 4096

// expand puts the values of variables into their places, in the syntax that
// Dockerfiles and compose files have: $name, ${name} and ${name:-default}. Why
// says why that cannot be done.
func expand(t traced, from int, lookup func(name string) (traced, bool)) (out traced, why string) {
	for i := from; i < len(t.text); {
		if t.text[i] != '$' {
			out.add(t.slice(i, i+1))
			i++
			continue
		}
		m := variablePattern.FindStringSubmatchIndex(t.text[i:])
		if m == nil {
			return out, "it has a variable that is not understood"
		}
		name := 2
		if m[2] < 0 {
			name = 4
		}
		word := t.text[i+m[name] : i+m[name+1]]
		value, ok := lookup(word)
		if !ok && m[6] >= 0 {
			start := i + m[6] + 1 + len(t.text[i+m[6]:i+m[7]]) - len(strings.TrimPrefix(t.text[i+m[6]:i+m[7]], ":"))
			value, ok = t.slice(start, i+m[7]), true
		}
		if !ok {
			return out, "its variable " + word + " has no default here"
		}
		if out.add(value); len(out.text) > mostExpanded {
			return out, "its variables are too long"
		}
		i += m[1]
	}
	return out, ""
}
