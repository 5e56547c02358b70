package evaluator

import (
	"regexp"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// lastError returns the part of Nix's messages that says what is wrong: from
// the last "error:" on, in one line, without the excerpt of the source and
// advice about Nix's own options.
func lastError(stderr string) string {
	const most = 500
	text := ansi.ReplaceAllString(stderr, "")
	if i := strings.LastIndex(text, "error:"); i >= 0 {
		text = text[i+len("error:"):]
	}
	var kept []string
	for line := range strings.Lines(text) {
		if !excerpt.MatchString(strings.TrimSpace(line)) {
			kept = append(kept, strings.Fields(line)...)
		}
	}
	text = strings.TrimSuffix(strings.Join(kept, " "), ":")
	if text == "" {
		text = "it ended without a message"
	}
	return said.Begin(text, most)
}

// Lines that show the source with line numbers and a mark, or advise --show-trace.
var excerpt = regexp.MustCompile(`^([0-9]*\|.*|\(use '--show-trace'.*)$`)

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")
