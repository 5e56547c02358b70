package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

type diffOptions struct {
	output
	exitCode, files bool
}

// mostFiles is how many compressed bytes of layers are read without --files.
const mostFiles = 64 << 20

func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show what differs between two images",
		Long: `Shows for each system which tools and packages were added, removed and updated from
image A to image B, which settings differ (environment, entrypoint, user and others),
which files outside of the store, how large both are, and what somebody who has A
downloads for B. No configuration is needed.

A and B are references into a registry, or oci:DIR:NAME:TAG (or @DIGEST) for an OCI
layout. Of images that the factory did not make, what they say is compared; notes
name the rest.

Manifests and configurations are read, and for the files the layers that may have
some: for images of the factory that is one for each system. If these have more than
64 MiB, files are compared with --files only. A file differs by its kind, mode, owner,
content or target, not by its time. In images of the factory, the Nix database, its
roots and the inventory do not count: they say again which packages there are.

Packages are the store paths that the layers' annotations name. Sizes are compressed
bytes; a layer that an image has twice counts once. To download are the layers that A
has not, by their digests: so do containerd and registries. Docker's classic store
downloads everything from the first layer that differs.

JSON: {a: {image, digest, channel, rev}, b, same, systems: [{system, same, a: {digest,
size, layers}, b, download: {byDigest: {bytes, layers}, classic}, tools: [{name,
change, from, to}], packages, settings: [{name, from, to}], files: [{name, change,
from: {kind, mode, owner, size, sha256, target}, to}], notes}]}; b, classic, packages
and to are like what stands before them. change is one of added, removed, updated and
rebuilt: a package of the same version at another store path, a link to the same file
of another build or version of its package. What is not there is null or left out. A
system that only one image has lacks the other side and download.`,
		Example: `  factory diff ghcr.io/org/nixpkgs-nixos-26.05:COMMIT ghcr.io/org/nixpkgs-nixos-26.05:latest
  factory diff --output markdown A B >>"$GITHUB_STEP_SUMMARY"
  factory diff --output json A B | jq -r '.systems[0].packages[] | select(.change == "updated") | .name'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("want two images, not %d", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,

		RunE: func(cmd *cobra.Command, args []string) error { return a.diff(cmd.Context(), args[0], args[1], o) },
	}
	cmd.Flags().BoolVar(&o.files, "files", false, "compare files however large the layers are that have them")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit 1 if the images differ")
	o.addFlag(cmd, "markdown")
	return cmd
}

func (a *app) diff(ctx context.Context, from, to string, o diffOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	had, err := a.diffSide(ctx, from)
	if err != nil {
		return err
	}
	has, err := a.diffSide(ctx, to)
	if err != nil {
		return err
	}
	most := int64(mostFiles)
	if o.files {
		most = math.MaxInt64
	}
	a.doing = "reading layers"
	if err := diff.ReadFiles(ctx, had, has, most); err != nil {
		return err
	}
	result := diff.Compare(had, has)
	switch o.format {
	case "json":
		err = writeJSON(a.stdout, result)
	case "markdown":
		_, err = io.WriteString(a.stdout, result.Markdown())
	default:
		err = a.diffTable(result)
	}
	if err == nil && o.exitCode && !result.Same {
		err = errReported
	}
	return err
}

// diffSide reads the manifests and configurations of an image.
func (a *app) diffSide(ctx context.Context, ref string) (diff.Image, error) {
	repo, tag, err := a.reference(ref)
	if err != nil {
		return diff.Image{}, err
	}
	a.doing = "reading " + ref
	side, err := readSide(ctx, ref, repo, tag)
	if err != nil && !strings.HasPrefix(err.Error(), ref+": ") { // layouts say it
		err = fmt.Errorf("%s: %w", ref, err)
	}
	return side, err
}

func readSide(ctx context.Context, ref string, repo registry.Repository, tag string) (diff.Image, error) {
	images, root, err := registry.Images(ctx, repo, tag)
	if err != nil {
		return diff.Image{}, err
	}
	digest, err := root.Digest()
	if err != nil {
		return diff.Image{}, err
	}
	return diff.ReadAll(ref, digest, images)
}

func (a *app) diffTable(d diff.Diff) error {
	err := a.facts([][]string{
		{"A", d.A.Image, d.A.Digest.String(), d.A.Channel, d.A.Rev},
		{"B", d.B.Image, d.B.Digest.String(), d.B.Channel, d.B.Rev},
	})
	for _, s := range d.Systems {
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "\n%s: %s\n", s.System, diffSizes(s))
		if s.Download != nil && !s.Same {
			fmt.Fprintf(a.stdout, "  to download for B with A: %s; with Docker's classic store %s\n", s.Download.ByDigest, s.Download.Classic)
		}
		for _, note := range s.Notes {
			fmt.Fprintf(a.stdout, "  %s\n", note)
		}
		changed, rebuilt, links := s.Rows()
		if len(rebuilt) > 0 {
			fmt.Fprintf(a.stdout, "  of the same version, built anew: %s\n", plural(len(rebuilt), "package"))
		}
		if links > 0 {
			fmt.Fprintf(a.stdout, "  to other builds of the same packages: %s\n", plural(links, "link"))
		}
		if len(changed) == 0 {
			continue
		}
		rows := [][]string{{"  WHAT", "NAME", "CHANGE", "A", "B"}}
		for _, r := range changed {
			rows = append(rows, []string{"  " + r.What, r.Name, r.Change, r.From, r.To})
		}
		err = a.table(rows)
	}
	return err
}

func diffSizes(s diff.System) string {
	if s.Same {
		return "the same image, " + s.A.String()
	}
	return s.Sizes()
}
