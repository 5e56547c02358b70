package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
)

type buildOptions struct {
	channel, rev, system, part string
	output
}

func (a *app) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build --channel CHANNEL --system SYSTEM [--rev REV]",
		Short: "Build one system's image and push it by digest, for publish-index to join",
		Long: `Builds the image of one system and pushes it to every destination under its digest,
without a tag. factory publish-index joins the images of all systems and sets the
tags. In this way separate machines can build the systems of one image; one machine
that builds them all with factory run --once gets the same digest. The binary caches
of the configuration are filled at this point.

With --part it leaves a part in that folder: a small file, named after channel, commit
and system, by which publish-index knows the image. Collect those of all machines in
one folder.

JSON, and what a part holds: {channel, rev, system, recipe, digest}; the digest is
empty for an optional system that upstream does not have.`,
		Example: `  factory build --channel nixos-26.05 --system x86_64-linux --part parts
  factory build --channel nixos-26.05 --system aarch64-linux --part parts
  factory publish-index --parts parts`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.build(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "channel of the configuration (required)")
	cmd.Flags().StringVar(&o.system, "system", "", "system of the channel, such as x86_64-linux (required)")
	cmd.Flags().StringVar(&o.rev, "rev", "", "commit, 7 to 40 hex digits; default: the channel's head")
	cmd.Flags().StringVar(&o.part, "part", "", "folder to leave the part in")
	o.addFlag(cmd)
	return cmd
}

func (a *app) build(ctx context.Context, o buildOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.channel == "" || o.system == "" {
		return usageError{errors.New("say which channel and system: factory build --channel CHANNEL --system SYSTEM")}
	}
	if err := checkRev(o.rev); err != nil {
		return err
	}
	if o.part != "" {
		if err := tryWrite(o.part); err != nil {
			return usageError{fmt.Errorf("--part: %w", err)}
		}
	}
	var system config.System
	f, err := a.openFactory(func(c config.Config) error {
		ch, err := findChannel(c, o.channel)
		if err == nil {
			system, err = findSystem(c, ch, o.system)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer f.Store.Close()
	a.doing = "building " + job(o.channel, o.rev) + " for " + o.system
	part, err := f.BuildPart(ctx, o.channel, o.rev, system)
	if err != nil {
		return asUsage(jobError{job(o.channel, o.rev), err})
	}
	a.close()
	if o.part != "" {
		if err := writePart(o.part, part); err != nil {
			return fmt.Errorf("part: %w", err)
		}
	}
	if o.format == "json" {
		return writeJSON(a.stdout, part)
	}
	_, err = fmt.Fprintln(a.stdout, part.Digest)
	return err
}
