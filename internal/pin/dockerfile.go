package pin

import (
	"bytes"
	"regexp"
	"strings"
)

// dockerfile reads the images that stages begin with, copy from or mount. The defaults of
// arguments before the first stage are part of their names.
func dockerfile(text []byte, o Options) ([]Spot, error) {
	d := dockerReader{file: text, options: o, args: map[string]traced{}}
	for _, in := range instructions(text) {
		switch in.name {
		case "ARG":
			if !d.inStage {
				d.arguments(in.words)
			}
		case "FROM":
			d.inStage = true
			for _, w := range in.words {
				if !strings.HasPrefix(w.text, "--") {
					d.image(w)
					break
				}
			}
		case "RUN":
			for _, w := range in.words {
				if m := mountPattern.FindStringSubmatchIndex(w.text); m != nil {
					d.image(w.slice(m[2], m[3]))
				}
			}
		case "COPY", "ADD":
			for _, w := range in.words {
				if rest, ok := strings.CutPrefix(w.text, "--from="); ok {
					d.image(w.slice(len(w.text)-len(rest), len(w.text)))
				}
			}
		}
	}
	return d.spots, nil
}

// mountPattern has the image that a step mounts.
var mountPattern = regexp.MustCompile(`^--mount=(?:[^,]*,)*from=([^,]+)`)

type dockerReader struct {
	file    []byte
	options Options
	args    map[string]traced
	inStage bool
	spots   []Spot
}

func (d *dockerReader) lookup(name string) (traced, bool) {
	t, ok := d.args[name]
	return t, ok
}

// arguments remembers defaults, in which arguments before them may be used. One
// whose default is not understood has none.
func (d *dockerReader) arguments(words []traced) {
	for _, w := range words {
		name, _, ok := strings.Cut(w.text, "=")
		if !ok {
			continue
		}
		delete(d.args, name)
		value, why := expand(unquoted(w.slice(len(name)+1, len(w.text))), 0, d.lookup)
		if why == "" {
			d.args[name] = value
		}
	}
}

func unquoted(t traced) traced {
	if n := len(t.text); n >= 2 && (t.text[0] == '"' || t.text[0] == '\'') && t.text[n-1] == t.text[0] {
		return t.slice(1, n-1)
	}
	return t
}

func (d *dockerReader) image(word traced) {
	word = unquoted(word)
	if word.text == "" {
		return
	}
	line := lineOf(d.file, word.at[0])
	t, why := expand(word, 0, d.lookup)
	if why != "" {
		if speaksOfImage(word.text) {
			d.spots = append(d.spots, Spot{Line: line, What: "image", Left: why})
		}
		return
	}
	if spot, found := imageSpot(t, d.options); found {
		spot.Line = line
		d.spots = append(d.spots, spot)
	}
}

// instruction is one of a Dockerfile.
type instruction struct {
	name  string // in capitals
	words []traced
}

var (
	escapePattern  = regexp.MustCompile("^#[ \t]*(?i:escape)[ \t]*=[ \t]*([`\\\\])[ \t\r]*$")
	directive      = regexp.MustCompile(`^#[ \t]*[a-zA-Z][a-zA-Z0-9]*[ \t]*=`)
	hereDocPattern = regexp.MustCompile(`<<(-?)(?:"([^"\s]+)"|'([^'\s]+)'|([a-zA-Z_][a-zA-Z0-9_.-]*))`)
)

// instructions takes a Dockerfile apart. Lines that end in the escape character
// go on in the next one, less the comments between them; here-documents are
// nobody's instructions.
func instructions(text []byte) []instruction {
	var list []instruction
	escape := escapeOf(text)
	lines := lineSpans(text)
	for i := 0; i < len(lines); i++ {
		if isComment(text, lines[i]) {
			continue
		}
		var whole traced
		for ; i < len(lines); i++ {
			if isComment(text, lines[i]) {
				continue
			}
			part := trace(text, lines[i][0], lines[i][1])
			trimmed := strings.TrimRight(part.text, " \t")
			if !strings.HasSuffix(trimmed, string(escape)) {
				whole.add(part)
				break
			}
			whole.add(part.slice(0, len(trimmed)-1))
		}
		words := fields(whole)
		if len(words) == 0 {
			continue
		}
		in := instruction{strings.ToUpper(words[0].text), words[1:]}
		list = append(list, in)
		if in.name == "RUN" || in.name == "COPY" || in.name == "ADD" {
			i = skipHereDocs(text, lines, i, whole.text)
		}
	}
	return list
}

// escapeOf is what the directive at the beginning says.
func escapeOf(text []byte) byte {
	for _, span := range lineSpans(text) {
		line := text[span[0]:span[1]]
		if m := escapePattern.FindSubmatch(line); m != nil {
			return m[1][0]
		}
		if !directive.Match(line) {
			break
		}
	}
	return '\\'
}

// lineSpans are the lines without their ends.
func lineSpans(text []byte) [][2]int {
	var spans [][2]int
	for at := len(bom(text)); at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		next := at + end + 1
		if end < 0 {
			next = len(text)
			end = len(text) - at
		}
		stop := at + end
		if stop > at && text[stop-1] == '\r' {
			stop--
		}
		spans = append(spans, [2]int{at, stop})
		at = next
	}
	return spans
}

func isComment(text []byte, span [2]int) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text[span[0]:span[1]], " \t"), []byte("#"))
}

// fields are the words of a line; blanks in quotes do not end one.
func fields(t traced) []traced {
	var words []traced
	start, quote := -1, byte(0)
	for i := 0; i < len(t.text); i++ {
		c := t.text[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			if start >= 0 {
				words = append(words, t.slice(start, i))
			}
			start = -1
			continue
		case quote == c:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
		if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		words = append(words, t.slice(start, len(t.text)))
	}
	return words
}

// skipHereDocs returns the last line of the here-documents that an instruction
// begins on line i.
func skipHereDocs(text []byte, lines [][2]int, i int, line string) int {
	for _, m := range hereDocPattern.FindAllStringSubmatch(line, -1) {
		end := m[2] + m[3] + m[4]
		for j := i + 1; j < len(lines); j++ {
			got := string(text[lines[j][0]:lines[j][1]])
			if m[1] == "-" {
				got = strings.TrimLeft(got, "\t")
			}
			if got == end {
				i = j
				break
			}
		}
	}
	return i
}
