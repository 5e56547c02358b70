package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

type buildOptions struct {
	channel, rev, system string
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

JSON: {channel, rev, system, recipe, digest}; the digest is empty for an optional
system that upstream does not have.`,
		Example: `  factory build --channel nixos-26.05 --system aarch64-linux --output json > aarch64.json
  factory publish-index x86_64.json aarch64.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.build(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "channel of the configuration (required)")
	cmd.Flags().StringVar(&o.system, "system", "", "system of the channel, such as x86_64-linux (required)")
	cmd.Flags().StringVar(&o.rev, "rev", "", "commit, 7 to 40 hex digits; default: the channel's head")
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
	if o.format == "json" {
		return writeJSON(a.stdout, part)
	}
	_, err = fmt.Fprintln(a.stdout, part.Digest)
	return err
}

type publishIndexOptions struct {
	due string
	output
}

func (a *app) publishIndexCommand() *cobra.Command {
	var o publishIndexOptions
	cmd := &cobra.Command{
		Use:   "publish-index [--due MATRIX] PART.json…",
		Short: "Join images that factory build has pushed, and publish them",
		Long: `Reads what factory build --output json has printed, joins the images of each
commit into one index, checks it and sets the tags. A commit that lacks one of its
systems is not published.

--due takes what factory plan --output github-matrix printed. A commit that was due
but has no part at all then counts as a failure: it is recorded, and the webhooks are
told.

JSON: as factory run --once.`,
		Example: `  factory publish-index parts/*.json
  factory publish-index --due "$MATRIX" parts/*.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if o.due == "" && len(args) == 0 {
				return errors.New("name the files that factory build --output json has written")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.publishIndex(cmd.Context(), args, o) },
	}
	cmd.Flags().StringVar(&o.due, "due", "", "the matrix that the parts were built from")
	o.addFlag(cmd)
	return cmd
}

func (a *app) publishIndex(ctx context.Context, files []string, o publishIndexOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	commits, err := readParts(files)
	if err != nil {
		return usageError{err}
	}
	if commits, err = addDue(commits, o.due); err != nil {
		return usageError{fmt.Errorf("--due: %w", err)}
	}
	f, hooks, err := a.prepare()
	if err != nil {
		return err
	}
	defer f.Store.Close()
	var results []cycle.Result
	a.doing = "joining what was built"
	for _, parts := range commits {
		results = append(results, f.Join(ctx, parts))
	}
	tell(ctx, f, hooks, results)
	return a.results(ctx, o.output, results)
}

// maxPart bounds the file of a part, which has a few hundred bytes.
const maxPart = 1 << 20

// readParts reads parts and groups them by commit, in the order in which the
// commits come first.
func readParts(files []string) ([][]cycle.Part, error) {
	var commits [][]cycle.Part
	for _, file := range files {
		data, err := smallfile.Read(file, maxPart)
		if err != nil {
			return nil, err
		}
		var part cycle.Part
		if err := json.Unmarshal(data, &part); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if part.Channel == "" || part.Rev.IsZero() || part.System == (config.System{}) {
			return nil, fmt.Errorf("%s: want the output of factory build --output json", file)
		}
		i := slices.IndexFunc(commits, func(c []cycle.Part) bool {
			return c[0].Channel == part.Channel && c[0].Rev == part.Rev
		})
		if i < 0 {
			commits, i = append(commits, nil), len(commits)
		}
		if j := slices.IndexFunc(commits[i], func(p cycle.Part) bool { return p.System == part.System }); j >= 0 {
			return nil, fmt.Errorf("%s: a second part of %s for %s", file, job(part.Channel, part.Rev.String()), part.System)
		}
		commits[i] = append(commits[i], part)
	}
	return commits, nil
}

// addDue adds the commits of a matrix of which there is no part, each with a
// part for no system.
func addDue(commits [][]cycle.Part, due string) ([][]cycle.Part, error) {
	if due == "" {
		return commits, nil
	}
	var m matrix
	if err := json.Unmarshal([]byte(due), &m); err != nil {
		return nil, err
	}
	for _, e := range m.Include {
		if !slices.ContainsFunc(commits, func(c []cycle.Part) bool { return c[0].Channel == e.Channel && c[0].Rev == e.Rev }) {
			commits = append(commits, []cycle.Part{{Channel: e.Channel, Rev: e.Rev}})
		}
	}
	return commits, nil
}
