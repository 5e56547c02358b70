package diff

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Limits of what Markdown shows, as the text of a pull request has one, too.
const (
	mostRows = 150
	mostCell = 120
)

// Row is a line of a table: what differs, its name, how, and what it was and is.
type Row struct{ What, Name, Change, From, To string }

// Rows are all that differs in a system but what was only rebuilt: the names of
// those packages, and the number of links to them. A tool is not shown again as a
// package.
func (s System) Rows() (rows []Row, rebuilt []string, links int) {
	shown := make(map[string]bool)
	add := func(what string, list []Change) {
		for _, c := range list {
			row := Row{what, c.Name, c.Change, strings.Join(c.From, ", "), strings.Join(c.To, ", ")}
			as := row
			as.What = ""
			switch key := fmt.Sprint(as); {
			case c.Change == Rebuilt && what == "package":
				rebuilt = append(rebuilt, c.Name)
			case c.Change != Rebuilt && !shown[key]:
				shown[key] = true
				rows = append(rows, row)
			}
		}
	}
	add("tool", s.Tools)
	add("package", s.Packages)
	for _, c := range s.Settings {
		rows = append(rows, c.row())
	}
	for _, c := range s.Files {
		if c.Change == Rebuilt {
			links++
			continue
		}
		from, to := c.cells()
		rows = append(rows, Row{"file", c.Name, c.Change, from, to})
	}
	return rows, rebuilt, links
}

func (c Setting) row() Row {
	row := Row{What: "setting", Name: c.Name, Change: Updated}
	switch {
	case c.From == nil:
		row.Change, row.To = Added, quoted(*c.To)
	case c.To == nil:
		row.Change, row.From = Removed, quoted(*c.From)
	default:
		row.From, row.To = quoted(*c.From), quoted(*c.To)
	}
	return row
}

func quoted(value string) string { return cmp.Or(value, `""`) }

// Sizes says how large both sides are.
func (s System) Sizes() string { return s.A.String() + " → " + s.B.String() }

func (s *Side) String() string {
	if s == nil {
		return "no image"
	}
	return Amount{s.Size, s.Layers}.String()
}

func (a Amount) String() string {
	layers := "layers"
	if a.Layers == 1 {
		layers = "layer"
	}
	return fmt.Sprintf("%s in %d %s", humanize.IBytes(uint64(max(a.Bytes, 0))), a.Layers, layers)
}

// Markdown is the text of a pull request or of a summary.
func (d Diff) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | image | digest | channel | commit |\n|---|---|---|---|---|\n")
	for _, i := range []struct {
		name string
		Image
	}{{"A", d.A}, {"B", d.B}} {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", i.name, code(i.Image.Image), code(i.Digest.String()), code(i.Channel), code(i.Rev))
	}
	for _, s := range d.Systems {
		fmt.Fprintf(&b, "\n### %s\n\n", code(s.System))
		s.markdown(&b)
	}
	return b.String()
}

func (s System) markdown(b *strings.Builder) {
	if s.Same {
		fmt.Fprintf(b, "The same image, %s.\n", s.A)
		return
	}
	fmt.Fprintf(b, "- size, compressed: %s\n", s.Sizes())
	if s.Download != nil {
		fmt.Fprintf(b, "- to download for B with A: %s; with Docker's classic store %s\n", s.Download.ByDigest, s.Download.Classic)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(b, "- %s\n", code(note))
	}
	rows, rebuilt, links := s.Rows()
	if len(rows) > 0 {
		b.WriteString("\n| | name | change | A | B |\n|---|---|---|---|---|\n")
	}
	for _, r := range rows[:min(len(rows), mostRows)] {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", r.What, code(r.Name), r.Change, code(r.From), code(r.To))
	}
	if more := len(rows) - mostRows; more > 0 {
		fmt.Fprintf(b, "\n… and %d more.\n", more)
	}
	if len(rebuilt) > 0 {
		fmt.Fprintf(b, "\nOf the same version, built anew: %d.\n", len(rebuilt))
	}
	if links > 0 {
		fmt.Fprintf(b, "\nLinks to other builds of the same packages: %d.\n", links)
	}
}

// code has a text stand for itself, whatever it is.
func code(text string) string {
	text = strings.NewReplacer("`", "'", "|", `\|`).Replace(said.Begin(text, mostCell))
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
