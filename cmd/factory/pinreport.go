package main

import (
	"fmt"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/pin"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// pinResult is the JSON form of the result.
type pinResult struct {
	Image        string   `json:"image"`
	Channel      string   `json:"channel"`
	Rev          git.Rev  `json:"rev"`
	Sha256       string   `json:"sha256"`
	NarHash      string   `json:"narHash"`
	LastModified int64    `json:"lastModified"`
	Pins         []pinRow `json:"pins"`
}

type pinRow struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	What    string `json:"what,omitempty"`
	Channel string `json:"channel,omitempty"`
	Rev     string `json:"rev,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
}

// What became of a pin.
const (
	pinSame    = "same"
	pinPinned  = "pinned"
	pinDiffers = "differs"
	pinLeft    = "left"
)

// pinReport says what was done or, with --check and --dry-run, what there is to do.
func (a *app) pinReport(has pinFacts, pinned []pin.Pinned, o pinOptions) error {
	rows, differ := pinRows(has, pinned, o)
	var err error
	switch {
	case o.format == "json":
		err = writeJSON(a.stdout, pinResult{
			Image: has.ref, Channel: has.channel, Rev: has.Rev, Sha256: has.NarHash.Base32(),
			NarHash: has.NarHash.SRI(), LastModified: has.LastModified, Pins: rows,
		})
	case o.dryRun:
		a.pinDiff(pinned, rows)
	default:
		fmt.Fprintf(a.stdout, "%s at %s, as in %s\n\n", said.Line(has.channel), has.Rev, has.ref)
		err = a.table(pinTable(rows))
	}
	if err == nil && o.check && differ > 0 {
		err = fmt.Errorf("%d of %s to the commit %s of %s; factory pin changes them", differ, plural(len(rows), "pin")+" would change", has.Rev, said.Line(has.channel))
	}
	return err
}

func pinRows(has pinFacts, pinned []pin.Pinned, o pinOptions) (rows []pinRow, differ int) {
	changed := pinPinned
	if o.check || o.dryRun {
		changed = pinDiffers
	}
	rows = []pinRow{}
	for _, p := range pinned {
		if p.Err != nil {
			rows = append(rows, pinRow{File: p.Name, State: pinLeft, Reason: said.Line(p.Err.Error())})
		}
		for i, s := range p.Spots {
			row := pinRow{File: p.Name, Line: s.Line, What: said.Line(s.What), Channel: said.Line(s.Channel), Rev: s.Rev, State: pinSame}
			switch {
			case s.Left != "":
				row.State, row.Reason = pinLeft, said.Line(s.Left)
			case p.Differs[i]:
				row.State = changed
				differ++
				if has.Channel != "" && s.Channel != has.Channel {
					row.Reason = s.Note
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, differ
}

func pinTable(rows []pinRow) [][]string {
	table := [][]string{{"FILE", "WHAT", "COMMIT", "STATE", "REASON"}}
	for _, r := range rows {
		table = append(table, []string{r.place(), r.What, r.Rev, r.State, r.Reason})
	}
	return table
}

func (r pinRow) place() string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

// pinDiff prints what would change, and on stderr what would not.
func (a *app) pinDiff(pinned []pin.Pinned, rows []pinRow) {
	for _, p := range pinned {
		a.stdout.Write(diff.Diff("a/"+p.Name, p.Text, "b/"+p.Name, p.New))
	}
	for _, r := range rows {
		if r.State == pinLeft {
			fmt.Fprintf(a.stderr, "factory: %s: left alone: %s\n", said.Visible(r.place()), r.Reason)
		}
	}
}
