package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxSize is far above what a thousand channels need.
const maxSize = 256 << 10

// document reads the one YAML document of a file. It is false when there is none.
func (p *parser) document(data []byte) (value, bool) {
	if len(data) > maxSize {
		p.report(1, 1, "", "longer than %d bytes", maxSize)
		return value{}, false
	}
	if !p.checkText(data) {
		return value{}, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	first, err := decode(dec)
	if errors.Is(err, io.EOF) {
		p.report(1, 1, "", "empty (want at least channels)")
		return value{}, false
	}
	if err != nil {
		p.reportSyntax(err)
		return value{}, false
	}
	if second, err := decode(dec); err == nil {
		p.report(second.Line, second.Column, "", "a second document (want one)")
	} else if !errors.Is(err, io.EOF) {
		p.reportSyntax(err)
	}
	return value{node: first.Content[0]}.resolved(), true
}

// decode reads the next document. The YAML library panics where it finds
// itself in a state that it has no error for.
func decode(dec *yaml.Decoder) (node *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	node = &yaml.Node{}
	if err := dec.Decode(node); err != nil {
		return nil, err
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 {
		return nil, io.EOF
	}
	return node, nil
}

// parsed is the node of a text that is right.
func parsed(text string) *yaml.Node {
	document, err := decode(yaml.NewDecoder(strings.NewReader(text)))
	if err != nil {
		panic(err)
	}
	return document.Content[0]
}

// checkText finds what the YAML library refuses without saying where.
func (p *parser) checkText(data []byte) bool {
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			p.report(line, column, "", "not UTF-8 text")
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', 0x7f <= r && r < 0xa0 && r != 0x85:
			p.report(line, column, "", "control character %U", r)
			return false
		case r == '\n':
			line, column = line+1, 1
		default:
			column++
		}
	}
	return true
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// reportSyntax notes an error of the YAML library, which leaves out the number
// of the first line.
func (p *parser) reportSyntax(err error) {
	line, msg := 1, err.Error()
	if m := syntaxError.FindStringSubmatch(msg); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		msg = m[2]
	}
	p.report(line, 0, "", "not YAML: %s", strings.TrimSpace(msg))
}
