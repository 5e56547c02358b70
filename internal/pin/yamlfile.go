package pin

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlFile reads what says in YAML which image to run: compose files, workflows
// of GitHub and Forgejo, pipelines of GitLab, manifests of Kubernetes. Under a key
// that is for images a name alone is one; elsewhere it has to have a tag or a digest.
func yamlFile(text []byte, o Options) ([]Spot, error) {
	if !bytes.Contains(text, []byte("nixpkgs-")) && o.Repository == "" {
		return nil, nil
	}
	y := yamlReader{file: text, lines: lineStarts(text), options: o}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return y.spots, nil
		} else if err != nil {
			return nil, err
		}
		y.visit(&doc, "")
	}
}

type yamlReader struct {
	file    []byte
	lines   []int
	options Options
	spots   []Spot
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// visit looks at a node and all below it. Aliases lead to what was seen.
func (y *yamlReader) visit(n *yaml.Node, key string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			y.visit(n.Content[i+1], imageKey(key, n.Content[i].Value))
		}
	case yaml.ScalarNode:
		y.scalar(n, key)
	default:
		for _, child := range n.Content {
			y.visit(child, key)
		}
	}
}

// imageKey is the key that a value counts as being under: the name of "image: {
// name: … }" is an image, too.
func imageKey(above, key string) string {
	if above == "image" && key == "name" {
		return "image"
	}
	return key
}

func (y *yamlReader) scalar(n *yaml.Node, key string) {
	if !speaksOfImage(n.Value) && (y.options.Repository == "" || !strings.Contains(n.Value, y.options.Repository)) {
		return
	}
	forImage := key == "image" || key == "container"
	t, plain := y.traced(n)
	if plain {
		var why string
		if t, why = expandCompose(t); why != "" {
			if forImage {
				y.spots = append(y.spots, Spot{Line: n.Line, What: "image", Left: why})
			}
			return
		}
	} else {
		t = traced{text: n.Value, at: make([]int, len(n.Value))}
	}
	spot, found := imageSpot(t, y.options)
	if !found || !forImage && !tagged(t.text) {
		return
	}
	if spot.Line = n.Line; !plain {
		spot.Left = isEscaped
	}
	y.spots = append(y.spots, spot)
}

// traced is where a scalar stands in the file. Plain is false if it is not
// written there as it reads.
func (y *yamlReader) traced(n *yaml.Node) (t traced, plain bool) {
	if n.Line < 1 || n.Line > len(y.lines) {
		return traced{}, false
	}
	// Columns count characters.
	at := y.lines[n.Line-1]
	if at == 0 {
		at += len(bom(y.file))
	}
	rest := []rune(firstLine(y.file[at:]))
	if n.Column-1 > len(rest) {
		return traced{}, false
	}
	at += len(string(rest[:max(n.Column-1, 0)]))
	// Before the scalar there may be an anchor or a tag, and a quote.
	for _, skip := range []string{"&", "!"} {
		if bytes.HasPrefix(y.file[at:], []byte(skip)) {
			word := bytes.IndexAny(y.file[at:], " \t\r\n")
			if word < 0 {
				return traced{}, false
			}
			at += word + len(y.file[at+word:]) - len(bytes.TrimLeft(y.file[at+word:], " \t"))
		}
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		at++
	}
	if at > len(y.file) || !bytes.HasPrefix(y.file[at:], []byte(n.Value)) {
		return traced{}, false
	}
	return trace(y.file, at, at+len(n.Value)), true
}

func bom(text []byte) string {
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		return "\ufeff"
	}
	return ""
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return strings.ToValidUTF8(string(line), "\ufffd")
}

// expandCompose puts the defaults of variables into their places, as compose does
// where nobody sets them.
func expandCompose(t traced) (traced, string) {
	return expand(t, 0, func(string) (traced, bool) { return traced{}, false })
}
