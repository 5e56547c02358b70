package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

type planOptions struct{ output }

func (a *app) planCommand() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a cycle would do, and why",
		Long: `Asks upstream for the heads of all channels and the registries for their images,
and shows what factory run --once would do. Builds nothing, publishes nothing,
needs no Nix.

TAGS are those that it would set or move: the commit's, and those of the channel
that follow its head. Of an image that is up to date they are the ones that do not
point to it.

Reasons: up to date, new commit, recipe changed, missing in registry, incomplete in
registry (something below the tag is gone), system available (an optional one that
was lacking), backfill, frozen, and frozen because the branch is gone upstream.

JSON: [{channel, rev, action, reason, systems, images, tags, error}], action one of
none, build, rebuild; error only where there is one.

github-matrix: {"include": [{channel, rev, system}]} on one line, with an entry for
each system of each image that is due: the matrix of a GitHub Actions job that runs
factory build.`,
		Example: `  factory plan
  factory plan --output json | jq -r '.[] | select(.action != "none") | .channel'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.plan(cmd.Context(), o) },
	}
	o.addFlag(cmd, "github-matrix")
	return cmd
}

func (a *app) plan(ctx context.Context, o planOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	f, err := a.openFactory()
	if err != nil {
		return err
	}
	defer f.Store.Close()
	a.doing = asking
	jobs, err := f.Plan(ctx, cycle.Options{})
	if err != nil {
		return err
	}
	switch o.format {
	case "json":
		err = writeJSON(a.stdout, jobs)
	case "github-matrix":
		err = writeMatrix(a.stdout, jobs)
	default:
		rows := [][]string{{"CHANNEL", "REVISION", "ACTION", "REASON", "SYSTEMS", "TAGS", "IMAGES"}}
		for _, j := range jobs {
			reason := string(j.Reason)
			if j.Err != nil {
				reason = "failed"
			}
			rows = append(rows, []string{j.Channel, short(j.Rev), string(j.Action), reason, systemNames(j.Systems), dash(strings.Join(j.Tags, " ")), strings.Join(j.Images, " ")})
		}
		if a.screen(a.stdout) != nil {
			for i := range rows { // they are told by channel and commit, and too long
				rows[i] = rows[i][:len(rows[i])-1]
			}
		}
		err = a.table(rows)
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, j := range jobs {
		if j.Err != nil {
			failures = append(failures, jobError{job(j.Channel, j.Rev.String()), j.Err})
		}
	}
	return a.reported(failures)
}

func systemNames(systems []config.System) string {
	names := make([]string, len(systems))
	for i, s := range systems {
		names[i] = s.String()
	}
	return strings.Join(names, " ")
}

// maxMatrix is how many jobs GitHub makes of a matrix.
const maxMatrix = 256

// matrix is the matrix of a GitHub Actions job: an entry for each image of one
// system that is due.
type matrix struct {
	Include []matrixEntry `json:"include"`
}

type matrixEntry struct {
	Channel string        `json:"channel"`
	Rev     git.Rev       `json:"rev"`
	System  config.System `json:"system"`
}

func writeMatrix(w io.Writer, jobs []plan.Job) error {
	m := matrix{Include: []matrixEntry{}}
	for _, j := range jobs {
		if j.Action == plan.None {
			continue
		}
		if len(m.Include)+len(j.Systems) > maxMatrix {
			break // the rest is due next time, too
		}
		for _, system := range j.Systems {
			m.Include = append(m.Include, matrixEntry{j.Channel, j.Rev, system})
		}
	}
	return json.NewEncoder(w).Encode(m)
}
