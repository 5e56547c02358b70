package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/record"
)

type historyOptions struct {
	channel, image string
	limit          int
	output
}

func (a *app) historyCommand() *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what was published and what failed, newest first",
		Long: `Shows the events that the state file remembers: publications and failures, newest
first. The last 10,000 are kept. Channels and images that are followed no longer can
be named, too.

JSON: [{time, channel, imageName, rev, image, digest, action, reason, error, since, moved:
{fetched, pushed}}]; since is when the channel came to the commit, moved are bytes from
upstream and caches, and to registries. Fields that an event does not have are left out;
of an image that was published in several places the first event has all bytes.`,
		Example: `  factory history --channel nixos-26.05 --limit 5
  factory history --output json | jq -r '.[] | select(.error) | "\(.time) \(.channel) \(.error)"'`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.history(o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "only this channel")
	cmd.Flags().StringVar(&o.image, "image", "", "only this image")
	cmd.Flags().IntVar(&o.limit, "limit", 50, "show at most this many events; 0 for all")
	o.addFlag(cmd)
	return cmd
}

func (a *app) history(o historyOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.limit < 0 {
		return usageError{fmt.Errorf("--limit %d: want 0 or more", o.limit)}
	}
	c, err := a.config(false)
	if err != nil {
		return err
	}
	store, err := snapshot(c)
	if err != nil {
		return err
	}
	defer store.Close()
	events, err := store.History(record.Subject{Channel: o.channel, ImageName: o.image}, o.limit)
	if err != nil {
		return err
	}
	if len(events) == 0 { // those that were followed once have some
		if err := known(c, o.channel, o.image); err != nil {
			return err
		}
	}
	if o.format == "json" {
		return writeJSON(a.stdout, append([]record.Event{}, events...))
	}
	rows := [][]string{{"WHEN", "CHANNEL", "NAME", "REVISION", "EVENT", "IMAGE"}}
	for _, e := range events {
		what := e.Action + " (" + e.Reason + ")"
		if e.Error != "" {
			what = "failed: " + e.Error
		}
		rows = append(rows, []string{since(e.Time), e.Channel, dash(e.ImageName), dash(short(e.Rev)), what, e.Image})
	}
	return a.table(a.named(rows, 2))
}
