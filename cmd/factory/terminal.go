package main

import (
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"
)

// screen is a terminal that somebody looks at. A nil one is a file or a pipe:
// there nothing is shortened, coloured or moved.
type screen struct {
	width  int
	colour bool
	bars   bool // it can move its cursor
}

// terminal is what claims to be a terminal and is no file.
type terminal interface {
	io.Writer
	Width() int
}

// plainWidth is the width of a terminal that does not tell.
const plainWidth = 80

// screen tells what kind of terminal w is, nil if it is none.
func (a *app) screen(w io.Writer) *screen {
	width := plainWidth
	switch t := w.(type) {
	case terminal:
		width = t.Width()
	case *os.File:
		if !term.IsTerminal(int(t.Fd())) {
			return nil
		}
		if w, _, err := term.GetSize(int(t.Fd())); err == nil && w > 0 {
			width = w
		}
	default:
		return nil
	}
	able := a.env("TERM") != "dumb"
	return &screen{width: width, colour: able && a.env("NO_COLOR") == "", bars: able}
}

// Colours, as terminals have them since ECMA-48.
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// paint colours a text where there are colours.
func paint(on bool, colour, text string) string {
	if !on || text == "" {
		return text
	}
	return colour + text + plain
}

var (
	digestPattern = regexp.MustCompile(`\bsha256:([0-9a-f]{12})[0-9a-f]{52}\b`)
	revPattern    = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{28}\b`)
	storePattern  = regexp.MustCompile(`/nix/store/([0-9a-z]{8})[0-9a-z]{24}-`)
)

// brief shortens what people do not read to its end: digests, commits, store
// paths, and the folder of a reference into a layout.
func brief(text string) string {
	if rest, ok := strings.CutPrefix(text, "oci:"); ok && !strings.Contains(text, " ") {
		if _, name, ok := strings.Cut(rest, ":"); ok && name != "" {
			text = name
		}
	}
	text = digestPattern.ReplaceAllString(text, "sha256:$1")
	text = revPattern.ReplaceAllString(text, "$1")
	return storePattern.ReplaceAllString(text, "$1…-")
}
