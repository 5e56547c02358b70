package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
)

type buildOptions struct {
	channel, rev, system, part string
	images                     []string
	output
}

func (a *app) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build --channel CHANNEL --system SYSTEM [--image NAME] [--rev REV]",
		Short: "Build one system's images and push them by digest, for publish-index to join",
		Long: `Builds the images of one system, all that are made of the channel or those that
--image names, and pushes them to every destination under their digests, without a
tag. factory publish-index joins the images of all systems and sets the tags. In this
way separate machines can build the systems of one image; one machine that builds them
all with factory run --once gets the same digest. The binary caches of the
configuration are filled at this point. An image that fails does not stop the others.

With --part it leaves parts in that folder: small files, named after channel, image,
commit and system, by which publish-index knows the images. Collect those of all
machines in one folder.

JSON: a list of what the parts hold, [{channel, imageName, rev, system, recipe, digest,
nix}]; the digest is empty for an optional system that upstream does not have.`,
		Example: `  factory build --channel nixos-26.05 --system x86_64-linux --part parts
  factory build --channel nixos-26.05 --system aarch64-linux --part parts
  factory publish-index --parts parts`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.build(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "channel of the configuration (required)")
	cmd.Flags().StringVar(&o.system, "system", "", "system of the channel, such as x86_64-linux (required)")
	cmd.Flags().StringSliceVar(&o.images, "image", nil, "name of an image of the channel; several with commas; default: all")
	cmd.Flags().StringVar(&o.rev, "rev", "", "commit, 7 to 40 hex digits; default: the channel's head")
	cmd.Flags().StringVar(&o.part, "part", "", "folder to leave parts in")
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
		if err == nil {
			err = known(c, o.channel, o.images...)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer f.Store.Close()
	a.doing = "building " + job(o.channel, o.rev) + " for " + o.system
	parts, err := f.BuildParts(ctx, o.channel, o.rev, system, o.images...)
	if err != nil {
		return asUsage(jobError{job(o.channel, o.rev), err})
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.close()
	return a.handOut(o, parts)
}

// handOut prints the parts that were built, leaves them where they are wanted, and
// reports those that were not built.
func (a *app) handOut(o buildOptions, parts []cycle.Part) error {
	built := []cycle.Part{}
	var failures []error
	for _, part := range parts {
		if part.Err != nil {
			failures = append(failures, jobError{job(a.of(part.Channel, part.ImageName), part.Rev.String()), part.Err})
			continue
		}
		if o.part != "" {
			if err := writePart(o.part, part); err != nil {
				return fmt.Errorf("part: %w", err)
			}
		}
		built = append(built, part)
	}
	if o.format == "json" {
		if err := writeJSON(a.stdout, built); err != nil {
			return err
		}
		return a.reported(failures)
	}
	for _, part := range built {
		if _, err := fmt.Fprintln(a.stdout, part.Digest); err != nil {
			return err
		}
	}
	return a.reported(failures)
}
