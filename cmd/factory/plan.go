package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

type planOptions struct{ output }

// toGitHub is the format of --output for a step of GitHub Actions.
const toGitHub = "github"

func (a *app) planCommand() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a cycle would do, and why",
		Long: `Asks upstream for the heads of all channels and the registries for their images,
and shows what factory run --once would do. Builds nothing, publishes nothing,
needs no Nix.

TAGS are those that it would set or move: the commit's, and those that follow the
channel's head. Of an image that is up to date they are the ones that do not point to
it. An image without nixpkgs has no tag of a commit. Whether a new commit changes such
an image, its evaluation tells; until then it is due. Before it was made for the first
time it is known by "nixpkgs = false;" in its image.nix.

Reasons: up to date, new commit, recipe changed, missing in registry, incomplete in
registry (something below the tag is gone), system available (an optional one that
was lacking), backfill, frozen, and frozen because the branch is gone upstream.

JSON: [{channel, imageName, rev, action, reason, systems, images, tags, error}],
action one of none, build, rebuild; error only where there is one. imageName is empty
for what concerns every image of the channel.

--output github, for a step of GitHub Actions, prints the text and sets two outputs of
the step. matrix is {"include": [{channel, rev, system, images}]}, the matrix of a job
that runs factory build: an entry for each system of each commit of which images are
due, these by their names with commas between them. due is true if there is an entry,
else false. A channel that cannot be asked about is left out of the matrix and makes
the step fail; the outputs are set all the same.`,
		Example: `  factory plan
  factory plan --output json | jq -r '.[] | select(.action != "none") | .channel'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.plan(cmd.Context(), o) },
	}
	o.addFlag(cmd, toGitHub)
	return cmd
}

func (a *app) plan(ctx context.Context, o planOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.format == toGitHub && a.env("GITHUB_OUTPUT") == "" {
		return usageError{errors.New("--output github is for a step of GitHub Actions: GITHUB_OUTPUT is not set")}
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
	if o.format == toGitHub {
		if err := a.handOn(matrixOf(jobs)); err != nil {
			return err
		}
	}
	if o.format == "json" {
		err = writeJSON(a.stdout, jobs)
	} else {
		err = a.planTable(jobs)
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, j := range jobs {
		if j.Err != nil {
			failures = append(failures, jobError{job(a.of(j.Channel, j.ImageName), j.Rev.String()), j.Err})
		}
	}
	return a.reported(failures)
}

func (a *app) planTable(jobs []plan.Job) error {
	rows := [][]string{{"CHANNEL", "NAME", "REVISION", "ACTION", "REASON", "SYSTEMS", "TAGS", "IMAGES"}}
	for _, j := range jobs {
		reason := string(j.Reason)
		if j.Err != nil {
			reason = "failed"
		}
		rows = append(rows, []string{j.Channel, dash(j.ImageName), short(j.Rev), string(j.Action), reason, systemNames(j.Systems), dash(strings.Join(j.Tags, " ")), strings.Join(j.Images, " ")})
	}
	if a.screen(a.stdout) != nil {
		for i := range rows { // they are told by channel and commit, and too long
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	return a.table(a.named(rows, 1))
}

func systemNames(systems []config.System) string {
	names := make([]string, len(systems))
	for i, s := range systems {
		names[i] = s.String()
	}
	return strings.Join(names, " ")
}
