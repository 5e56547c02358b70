package main

import (
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// table writes rows to stdout in aligned columns. On a terminal, what is long by
// nature is shortened and the rest is broken into lines, so that it fits; elsewhere
// every row is one line with everything in it.
func (a *app) table(rows [][]string) error { return a.columns(rows, briefCell) }

// facts is table for what people copy: nothing is shortened.
func (a *app) facts(rows [][]string) error {
	return a.columns(rows, func(s string) string { return s })
}

func (a *app) columns(rows [][]string, shorten func(string) string) error {
	width := 0
	rows = mapCells(rows, said.Visible) // labels of images are somebody else's
	if s := a.screen(a.stdout); s != nil {
		width = s.width
		rows = mapCells(rows, shorten)
	}
	_, err := io.WriteString(a.stdout, layOut(rows, width))
	return err
}

func mapCells(rows [][]string, change func(string) string) [][]string {
	changed := make([][]string, len(rows))
	for i, row := range rows {
		changed[i] = make([]string, len(row))
		for j, cell := range row {
			changed[i][j] = change(cell)
		}
	}
	return changed
}

// Between two columns, and the width below which none is made narrower.
const (
	gap       = "  "
	narrowest = 8
)

// layOut aligns columns. Lines are no wider than width, unless there are too many
// columns for that; 0 is any width.
func layOut(rows [][]string, width int) string {
	widths := columnWidths(rows)
	if width > 0 {
		words := columnWidths(mapCells(rows, longestWord))
		squeeze(widths, words, width)
	}
	var b strings.Builder
	for _, row := range rows {
		cells := make([][]string, len(row))
		height := 1
		for i, cell := range row {
			cells[i] = []string{cell}
			if width > 0 {
				cells[i] = wrap(cell, widths[i])
			}
			height = max(height, len(cells[i]))
		}
		for line := range height {
			var text strings.Builder
			for i, cell := range cells {
				part := ""
				if line < len(cell) {
					part = cell[line]
				}
				text.WriteString(part + strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(part), 0)) + gap)
			}
			b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
		}
	}
	return b.String()
}

func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// squeeze takes from the widest columns until all of them fit: first from those
// that have no word as wide, so that words stay whole while they can.
func squeeze(widths, words []int, width int) {
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for _, least := range []func(i int) int{
		func(i int) int { return words[i] },
		func(int) int { return narrowest },
	} {
		for ; total > width; total-- {
			widest := -1
			for i, w := range widths {
				if w > least(i) && (widest < 0 || w > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
		}
	}
}

// wrap breaks a text into lines of at most width characters, between words where
// it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		runes := []rune(word)
		for len(runes) > width {
			at := breakable(runes[:width])
			lines = append(lines, string(runes[:at]))
			runes = runes[at:]
		}
		line = string(runes)
	}
	return append(lines, line)
}

// breakable returns where to break a word that fills a line: behind the last of
// what separates the parts of a name, if that is in its second half.
func breakable(line []rune) int {
	for i := len(line); i > len(line)/2; i-- {
		if strings.ContainsRune("/:@-", line[i-1]) {
			return i
		}
	}
	return len(line)
}

func longestWord(text string) string {
	longest := ""
	for word := range strings.FieldsSeq(text) {
		if utf8.RuneCountInString(word) > utf8.RuneCountInString(longest) {
			longest = word
		}
	}
	return longest
}

// briefCell is brief for what has a column of its own: the tag that is the commit
// is in that of the commit, and digests are known as such.
func briefCell(text string) string {
	text = brief(text)
	if rest, ok := strings.CutPrefix(text, "sha256:"); ok && len(rest) == briefDigits {
		return rest
	}
	if cut := commitTag.FindStringIndex(text); cut != nil {
		return text[:cut[0]]
	}
	return text
}

const briefDigits = 12

var commitTag = regexp.MustCompile(`:[0-9a-f]{12}$`)
