package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/heads"
)

type rebuildOptions struct {
	channel, rev string
	images       []string
	output
}

func (a *app) rebuildCommand() *cobra.Command {
	var o rebuildOptions
	cmd := &cobra.Command{
		Use:   "rebuild --channel CHANNEL [--image NAME] [--rev REV]",
		Short: "Build and publish images whatever the plan says",
		Long: `Builds the images of a channel's head, or of the commit REV, from nothing, and
publishes them under the tag of their commit: all of them, or those that --image names.
The moving tags follow only if the commit is the channel's head. Equal inputs give
the same digest, so nobody who uses the image is disturbed.

JSON: as factory run --once.`,
		Example: `  factory rebuild --channel nixos-26.05
  factory rebuild --channel nixos-26.05 --rev 0123456789abcdef0123456789abcdef01234567`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rebuild(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "channel of the configuration (required)")
	cmd.Flags().StringSliceVar(&o.images, "image", nil, "name of an image of the channel; several with commas; default: all")
	cmd.Flags().StringVar(&o.rev, "rev", "", "commit, 7 to 40 hex digits; default: the channel's head")
	o.addFlag(cmd)
	return cmd
}

func (a *app) rebuild(ctx context.Context, o rebuildOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.channel == "" {
		return usageError{errors.New("say which channel: factory rebuild --channel CHANNEL")}
	}
	if err := checkRev(o.rev); err != nil {
		return err
	}
	f, hooks, err := a.prepare(func(c config.Config) error {
		return known(c, o.channel, o.images...)
	})
	if err != nil {
		return err
	}
	defer f.Store.Close()
	a.doing = asking
	results, err := f.Rebuild(ctx, o.channel, o.rev, o.images...)
	if err != nil {
		return asUsage(err)
	}
	return a.tellAll(ctx, f, hooks, o.output, results)
}

func checkRev(rev string) error {
	if rev != "" && !commitPattern.MatchString(rev) {
		return usageError{fmt.Errorf("--rev %q: want 7 to 40 hex digits", rev)}
	}
	return nil
}

// asUsage makes usage errors of names that a user got wrong.
func asUsage(err error) error {
	var (
		channel  *cycle.UnknownChannelError
		upstream *heads.UnknownChannelError
		commit   *heads.UnknownCommitError
	)
	if errors.As(err, &channel) || errors.As(err, &upstream) || errors.As(err, &commit) {
		return usageError{err}
	}
	return err
}
