package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/daemon"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/notify"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

type runOptions struct {
	once    bool
	noBuild bool
	listen  string
	output
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [--once]",
		Short: "Build and publish what is new, on a schedule or once",
		Long: `Goes through the channels of the configuration: asks upstream for each one's head
and the registries for the head's image, builds what is missing or was made by an
older recipe, publishes it and records it. A channel that fails does not stop the
others.

With --once it does this once and exits. Otherwise it does it at the start and then
on the schedule of the configuration, never twice at the same time. A channel that
failed is tried again after 2 minutes, then after twice as long each time. SIGTERM or
an interrupt ends it: the image in progress may be finished within the grace period
of the configuration; a second signal ends it at once. SIGHUP reads the configuration
again; if it is wrong, the old one stays.

Environment: GITHUB_TOKEN raises the limit of requests to the API from 60 an
hour; REGISTRY_USER and REGISTRY_PASSWORD (with REGISTRY_HOST where there are
several registries) are used where the Docker configuration has no credentials.

A channel that is frozen, by the configuration or because upstream has deleted its
branch, is no failure, nor is a tag that the registry does not let be moved: both are
warnings.

Exit codes: 0 all well, 1 something failed, 2 wrong usage or configuration, 130
interrupted.`,
		Example: `  factory run --once
  factory run --once --output json | jq -r '.[].published[].image'
  GITHUB_TOKEN=… factory run --listen 127.0.0.1:9464
  curl http://127.0.0.1:9464/metrics`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.once {
				return a.runOnce(cmd.Context(), o)
			}
			return a.runDaemon(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "one cycle, then exit")
	cmd.Flags().BoolVar(&o.noBuild, "no-build", false, "with --once: build and evaluate nothing, only restore the tags and the record of images that are up to date")
	cmd.Flags().StringVar(&o.listen, "listen", "", "address for /healthz, /readyz and /metrics; without --once")
	o.addFlag(cmd)
	return cmd
}

func (a *app) runOnce(ctx context.Context, o runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.listen != "" {
		return usageError{errors.New("--listen is for the daemon: it does not go with --once")}
	}
	f, hooks, err := a.prepare()
	if err != nil {
		return err
	}
	defer f.Store.Close()
	a.doing = asking
	limited, free := daemon.WithLimit(ctx, f.Config.Limit)
	defer free()
	results, err := f.Cycle(limited, cycle.Options{NoBuild: o.noBuild})
	cut := cutOff(limited)
	if err != nil {
		return cmp.Or(cut, err)
	}
	return errors.Join(a.tellAll(ctx, f, hooks, o.output, results), cut)
}

// asking is what commands do before they know what is to be done.
const asking = "asking upstream and the registries"

// tellAll tells webhooks and whoever runs the command what became of each job.
func (a *app) tellAll(ctx context.Context, f *cycle.Factory, hooks *notify.Webhooks, o output, results []cycle.Result) error {
	changes := make([]*diff.Diff, len(results))
	if !hooks.None() || a.inActions() {
		changes = a.changes(ctx, f, results)
	}
	tell(ctx, f, hooks, results, changes)
	return a.results(ctx, o, results, changes)
}

// results prints what became of each job. Failures make the command fail.
func (a *app) results(ctx context.Context, o output, results []cycle.Result, changes []*diff.Diff) error {
	a.close() // the bars, before stdout is written to
	if o.format == "json" {
		if err := writeJSON(a.stdout, results); err != nil {
			return err
		}
	} else if err := a.resultTable(ctx, results); err != nil {
		return err
	}
	if err := a.tellActions(results, changes); err != nil {
		return err
	}
	var (
		failures []error
		stopped  error
	)
	for _, r := range results {
		switch {
		case r.Err == nil:
		case !interrupted(ctx, r.Failed):
			failures = append(failures, jobError{job(a.of(r.Channel, r.ImageName), r.Rev.String()), r.Err})
		case stopped == nil:
			a.doing = "building " + job(a.of(r.Channel, r.ImageName), r.Rev.String())
			stopped = ctx.Err()
		}
	}
	return errors.Join(a.reported(failures), stopped)
}

func (a *app) resultTable(ctx context.Context, results []cycle.Result) error {
	rows := [][]string{{"CHANNEL", "NAME", "REVISION", "RESULT", "IMAGE", "DIGEST"}}
	for _, r := range results {
		what := string(r.Reason)
		switch {
		case r.Err != nil && interrupted(ctx, r.Failed):
			what = "interrupted"
		case r.Err != nil:
			what = "failed"
		case r.Action != plan.None && len(r.Published) > 0:
			what = "published (" + what + ")"
		case r.Action != plan.None:
			what = "due (" + what + ")"
		}
		if len(r.Published) == 0 {
			rows = append(rows, []string{r.Channel, dash(r.ImageName), short(r.Rev), what})
		}
		for _, p := range r.Published {
			rows = append(rows, []string{r.Channel, r.ImageName, short(r.Rev), what, p.Image, p.Digest.String()})
		}
	}
	return a.table(a.named(rows, 1))
}

// subject names an image of a channel.
func subject(channel, image string) string {
	if image == "" {
		return channel
	}
	return channel + " " + image
}

// of names an image of a channel, where there are several of them.
func (a *app) of(channel, image string) string {
	if !a.several {
		return channel
	}
	return subject(channel, image)
}

// named takes the column with the names of images out of a table where there is only
// one of them.
func (a *app) named(rows [][]string, column int) [][]string {
	if a.several {
		return rows
	}
	for i, row := range rows {
		rows[i] = slices.Delete(row, column, column+1)
	}
	return rows
}

// job names what is made and, where it is known, the commit.
func job(channel, rev string) string {
	if rev == "" {
		return channel
	}
	return channel + "@" + brief(rev)
}
