package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/record"
)

const nothingElse = cobra.ShellCompDirectiveNoFileComp

// describeCompletion says in the words of the other commands what cobra's own
// command does.
func describeCompletion(cmd *cobra.Command) {
	cmd.Short = "Print what has a shell complete commands, flags and their values"
	cmd.Long = `Prints a script that has a shell complete commands, flags and their values. Channels,
images and systems are those of the configuration, commits those of the state file.

Each shell's help says where the script goes: factory completion bash --help`
	cmd.Example = `  source <(factory completion bash)
  factory completion fish | source`
	for _, shell := range cmd.Commands() {
		now, always := loading(shell.Name())
		shell.Short = "Print the script for " + shell.Name()
		shell.Long = shell.Short + ".\n\nThe first example is for the shell that it is typed into, the second for all later ones."
		if shell.Name() == "bash" {
			shell.Long += "\nThe package bash-completion has to be installed."
		}
		shell.Example = "  " + now + "\n  " + always
	}
}

// loading returns how a shell loads its script now, and from now on.
func loading(shell string) (now, always string) {
	print := "factory completion " + shell
	switch shell {
	case "bash":
		return "source <(" + print + ")", print + " >~/.local/share/bash-completion/completions/factory"
	case "zsh":
		return "source <(" + print + ")", print + ` >"${fpath[1]}/_factory"`
	case "fish":
		return print + " | source", print + " >~/.config/fish/completions/factory.fish"
	}
	return print + " | Out-String | Invoke-Expression", print + " >>$PROFILE"
}

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
