package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/record"
)

const nothingElse = cobra.ShellCompDirectiveNoFileComp

// completeFlags has the shell offer values for the flags of a command that
// channel, image, system and rev are among.
func (a *app) completeFlags(cmd *cobra.Command) {
	for flag, offer := range map[string]cobra.CompletionFunc{
		"channel": a.completeChannels, "image": a.completeImages, "system": a.completeSystems, "rev": a.completeRevs,
	} {
		if cmd.Flags().Lookup(flag) != nil {
			cmd.RegisterFlagCompletionFunc(flag, offer)
		}
	}
}

// completeChannels offers the channels of the configuration.
func (a *app) completeChannels(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := a.config(true)
	if err != nil {
		return nil, nothingElse
	}
	return channelNames(c), nothingElse
}

// completeImages offers the images of the channel that was named, or else those of
// all channels.
func (a *app) completeImages(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.config(true)
	if err != nil {
		return nil, nothingElse
	}
	channel, _ := cmd.Flags().GetString("channel")
	var names []string
	for _, i := range c.Images {
		if channel == "" || i.IsOf(channel) {
			names = append(names, i.Name())
		}
	}
	return names, nothingElse
}

// completeSystems offers the systems of the channel that was named, or else those
// of all channels.
func (a *app) completeSystems(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.config(true)
	if err != nil {
		return nil, nothingElse
	}
	channel, _ := cmd.Flags().GetString("channel")
	var names []string
	for _, ch := range c.Channels {
		if channel != "" && ch.Name != channel {
			continue
		}
		for _, s := range c.SystemsOf(ch) {
			if !slices.Contains(names, s.Nix) {
				names = append(names, s.Nix)
			}
		}
	}
	return names, nothingElse
}

// mostRevs is how many commits the shell is offered.
const mostRevs = 20

// completeRevs offers the commits that the state remembers, newest first.
func (a *app) completeRevs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.config(true)
	if err != nil {
		return nil, nothingElse
	}
	store, err := snapshot(c)
	if err != nil {
		return nil, nothingElse
	}
	defer store.Close()
	publications, err := store.Publications()
	if err != nil {
		return nil, nothingElse
	}
	slices.SortStableFunc(publications, func(a, b record.Publication) int { return cmp.Compare(b.Time.Unix(), a.Time.Unix()) })
	channel, _ := cmd.Flags().GetString("channel")
	var revs []string
	for _, p := range publications {
		offer := p.Rev.String() + "\t" + p.Channel
		if (channel == "" || p.Channel == channel) && !slices.Contains(revs, offer) && len(revs) < mostRevs {
			revs = append(revs, offer)
		}
	}
	return revs, nothingElse | cobra.ShellCompDirectiveKeepOrder
}
