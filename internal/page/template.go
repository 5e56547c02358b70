package page

import (
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/image"
)

//go:embed assets/*.html
var sources embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"policy": func() string { return Policy },
	"weight": weight,
	"span":   span,
	"stamp":  stamp,
	"date":   date,
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"times":  times,
	"count":  count,
	"short":  func(r git.Rev) string { return r.Short(12) },
	"brief":  brief,
	"dict":   dict,
}).ParseFS(sources, "assets/*.html"))

// dict has a template get several values by name.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: %d values", len(pairs))
	}
	m := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// stamp is a time as people read it.
func stamp(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

// brief is the beginning of a digest.
func brief(digest fmt.Stringer) string {
	text := digest.String()
	return text[:min(len(text), len("sha256:")+12)] + "…"
}

// Ago says how long before the page was made something was.
func (s site) Ago(t time.Time) string { return span(max(s.Now.Sub(t), 0)) + "\u00a0ago" }

func (s site) commitURL(rev string) string {
	return s.Upstream + "/commit/" + rev
}

// Commit is the address of a commit.
func (s site) Commit(rev git.Rev) string { return s.commitURL(rev.String()) }

// Compare is the address of what two commits differ in.
func (s site) Compare(a, b git.Rev) string {
	return fmt.Sprintf("%s/compare/%s...%s", s.Upstream, a, b)
}

// Text is how a state is called.
func (s State) Text() string {
	return map[State]string{Current: "Up to date", Frozen: "Frozen", Never: "Not published yet", Behind: "Behind", Failing: "Failing"}[s]
}

// Summary says how all channels stand.
func (s site) Summary() string {
	n := make(map[State]int)
	for _, c := range s.Channels {
		n[c.State]++
	}
	if n[Current] == len(s.Channels) {
		if len(s.Channels) == 1 {
			return "The channel is up to date."
		}
		return fmt.Sprintf("All %d channels are up to date.", len(s.Channels))
	}
	var parts []string
	for _, st := range []State{Failing, Behind, Never, Current, Frozen} {
		if n[st] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[st], strings.ToLower(st.Text())))
		}
	}
	return fmt.Sprintf("%s: %s.", count(len(s.Channels), "channel"), strings.Join(parts, ", "))
}

// Several tells whether a channel has more images than one.
func (c channel) Several() bool { return len(c.Images) > 1 }

// isHead tells whether what is published is of the channel's head.
func (p published) isHead() bool {
	return p.Head != nil && p.Publication != nil && p.Publication.Rev == p.Head.Rev
}

// Waits tells whether the image of the channel's head is waited for, and since when
// that is known.
func (p published) Waits() bool { return p.HasLag && !p.isHead() && p.State != Frozen }

// Sentence says how an image stands, but for what Waits says.
func (p published) Sentence() string {
	switch {
	case p.State == Frozen:
		return "Nothing of this channel changes any more. Its images stay as they are."
	case p.State == Failing:
		return fmt.Sprintf("It has failed %s.", times(p.Failures[0].Count))
	case p.Publication == nil:
		return "Nothing has been published so far."
	case p.Waits():
		return ""
	case p.State == Behind:
		return "The image of the channel’s newest commit is not there yet."
	case p.HasLag:
		return fmt.Sprintf("Published %s after the channel moved.", span(p.Lag))
	}
	return "The channel’s newest commit is published."
}

// toolRow is a tool with its version for each system.
type toolRow struct {
	Name     string
	Versions []string // one, if all systems have the same
}

// Tools are those of all systems, by name.
func (p published) Tools() (rows []toolRow) {
	if p.Contents == nil {
		return nil
	}
	for i, s := range p.Contents.Systems {
		for _, t := range s.Tools {
			at := slices.IndexFunc(rows, func(r toolRow) bool { return r.Name == t.Name })
			if at < 0 {
				at = len(rows)
				rows = append(rows, toolRow{t.Name, make([]string, len(p.Contents.Systems))})
			}
			rows[at].Versions[i] = t.Version
		}
	}
	if p.SameTools(rows) {
		for i := range rows {
			rows[i].Versions = rows[i].Versions[:1]
		}
	}
	slices.SortStableFunc(rows, func(a, b toolRow) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}

// SameTools tells whether every system has the same versions.
func (p published) SameTools(rows []toolRow) bool {
	return !slices.ContainsFunc(rows, func(r toolRow) bool { return len(slices.Compact(slices.Clone(r.Versions))) > 1 })
}

// Size is that of the largest system's image, 0 where it is not known.
func (p published) Size() (most int64) {
	if p.Contents == nil {
		return 0
	}
	for _, s := range p.Contents.Systems {
		most = max(most, s.Size)
	}
	return most
}

// Systems are what the image is for.
func (p published) Systems() string {
	var names []string
	if p.Publication != nil {
		for _, s := range p.Publication.Systems {
			names = append(names, s.Nix)
		}
	}
	return strings.Join(names, ", ")
}

// Lacks are systems that images of the channel are to have and this one has not.
func (p published) Lacks() string {
	var names []string
	if p.Publication != nil {
		for s := range p.Publication.Lacks {
			names = append(names, s.Nix)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// maxRows bounds the table of the history; channels.json has the rest.
const maxRows = 200

// Rows are the newest events.
func (p published) Rows() []event { return p.Events[:min(len(p.Events), maxRows)] }

// Rest is how many events are not in Rows.
func (p published) Rest() int { return len(p.Events) - len(p.Rows()) }

// Contained are the systems of the contents.
func (p published) Contained() []image.SystemContent {
	if p.Contents == nil {
		return nil
	}
	return p.Contents.Systems
}
