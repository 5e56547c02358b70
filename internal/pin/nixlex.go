package pin

import (
	"bytes"
	"strings"
)

// token is a part of a Nix expression: a name, a number, a string or a single
// other character. Comments and blanks are none.
type token struct {
	kind       byte // 'a' name, 's' string, '0' number, 'x' anything that is not looked into, or the character itself
	start, end int
	parts      []part // of a string
}

// part of a string: text from start to end, or a name that stands for some.
type part struct {
	start, end int
	name       string
}

// lexNix takes an expression apart, as far as it takes to find sets of attributes
// and simple strings in it.
func lexNix(text []byte) []token {
	l := nixLexer{text: text}
	for l.at < len(text) {
		l.next()
	}
	return l.tokens
}

type nixLexer struct {
	text   []byte
	at     int
	depth  int // of expressions in strings
	tokens []token
}

func (l *nixLexer) has(prefix string) bool { return bytes.HasPrefix(l.text[l.at:], []byte(prefix)) }

func (l *nixLexer) add(kind byte, start int) {
	l.tokens = append(l.tokens, token{kind: kind, start: start, end: l.at})
}

func (l *nixLexer) next() {
	start, c := l.at, l.text[l.at]
	switch {
	case strings.IndexByte(" \t\r\n", c) >= 0:
		l.at++
	case c == '#':
		l.skipTo("\n")
	case l.has("/*"):
		l.at += 2
		l.skipTo("*/")
	case c == '"':
		l.at++
		parts, plain := l.simpleString()
		l.add('x', start)
		if plain {
			last := &l.tokens[len(l.tokens)-1]
			last.kind, last.parts = 's', parts
		}
	case l.has("''"):
		l.at += 2
		l.indented()
		l.add('x', start)
	case isName(c) && (c < '0' || c > '9') && c != '-' && c != '\'':
		for l.at < len(l.text) && isName(l.text[l.at]) {
			l.at++
		}
		l.add('a', start)
		l.uri()
	case c >= '0' && c <= '9':
		for l.at < len(l.text) && l.text[l.at] >= '0' && l.text[l.at] <= '9' {
			l.at++
		}
		l.add('0', start)
	default:
		l.at++
		l.add(c, start)
	}
}

// uri makes a token that is not looked into of an address without quotes, which
// would otherwise begin a comment.
func (l *nixLexer) uri() {
	if !l.has("://") {
		return
	}
	last := &l.tokens[len(l.tokens)-1]
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n;)]}", l.text[l.at]) < 0 {
		l.at++
	}
	last.kind, last.end = 'x', l.at
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '\''
}

func (l *nixLexer) skipTo(end string) {
	if i := bytes.Index(l.text[l.at:], []byte(end)); i >= 0 {
		l.at += i + len(end)
	} else {
		l.at = len(l.text)
	}
}

// simpleString reads a string behind its quote. Plain is false if it has escapes,
// or expressions that are more than a name.
func (l *nixLexer) simpleString() (parts []part, plain bool) {
	plain = true
	from := l.at
	flush := func() {
		if from < l.at {
			parts = append(parts, part{start: from, end: l.at})
		}
	}
	for l.at < len(l.text) {
		switch {
		case l.text[l.at] == '"':
			flush()
			l.at++
			return parts, plain
		case l.text[l.at] == '\\':
			plain = false
			l.at = min(l.at+2, len(l.text))
		case l.has("${"):
			flush()
			name := l.interpolation()
			if plain = plain && name != ""; plain {
				parts = append(parts, part{name: name})
			}
			from = l.at
		default:
			l.at++
		}
	}
	return nil, false
}

// indented reads a string behind its two quotes.
func (l *nixLexer) indented() {
	for l.at < len(l.text) {
		switch {
		case l.has("'''"), l.has("''$"):
			l.at += 3
		case l.has("''\\"):
			l.at = min(l.at+4, len(l.text))
		case l.has("''"):
			l.at += 2
			return
		case l.has("${"):
			l.interpolation()
		default:
			l.at++
		}
	}
}

// interpolation reads ${…}, and gives its name if it is one. What is in it is an
// expression, and looked at like the rest.
func (l *nixLexer) interpolation() string {
	l.at += 2
	first := len(l.tokens)
	depth := 1
	if l.depth++; l.depth > mostNested {
		l.at = len(l.text)
	}
	defer func() { l.depth-- }()
	for l.at < len(l.text) {
		before := len(l.tokens)
		l.next()
		if len(l.tokens) == before {
			continue
		}
		switch l.tokens[len(l.tokens)-1].kind {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			break
		}
	}
	inner := l.tokens[first:]
	name := ""
	if depth == 0 && len(inner) == 2 && inner[0].kind == 'a' {
		name = string(l.text[inner[0].start:inner[0].end])
	}
	l.tokens = l.tokens[:first]
	return name
}
