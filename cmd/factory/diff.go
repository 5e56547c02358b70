package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
)

type diffOptions struct {
	output
	exitCode bool
	files    bool
}

func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show what differs between two images",
		Long: `Shows for each system which tools and packages were added, removed and updated from
image A to image B, which settings differ (environment, entrypoint, user and others),
how large both are, and what somebody who has A downloads for B. Only manifests and
configurations are read: no layer is downloaded. No configuration is needed.

--files reads one layer of each, that with the root file system, and shows what differs
beside the store: files by mode, size and digest, folders, and links by the package and
the file that they lead to.

A and B are references into a registry, or oci:DIR:NAME:TAG (or @DIGEST) for an OCI
layout. Of images that the factory did not make, what they say is compared; notes
name the rest.

Packages are the store paths that the layers' annotations name. Sizes are compressed
bytes; a layer that an image has twice counts once. To download are the layers that A
has not, by their digests: so do containerd and registries. Docker's classic store
downloads everything from the first layer that differs.

JSON: {a: {image, digest, channel, rev}, b, same, systems: [{system, same, a: {digest,
size, layers}, b, download: {byDigest: {bytes, layers}, classic}, tools: [{name,
change, from, to}], packages, settings: [{name, from, to}], files, notes}]}; b,
classic, packages and files are like what stands before them. change is one of added,
removed, updated and rebuilt (the same version at another store path). A system that
only one image has lacks the other side and download.`,
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
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit 1 if the images differ")
	cmd.Flags().BoolVar(&o.files, "files", false, "compare files beside the store, too")
	o.addFlag(cmd, "markdown")
	return cmd
}

func (a *app) diff(ctx context.Context, from, to string, o diffOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	had, err := a.diffSide(ctx, from, o.files)
	if err != nil {
		return err
	}
	has, err := a.diffSide(ctx, to, o.files)
	if err != nil {
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

// diffSide reads the manifests and configurations of an image and, if they are to be
// compared, its files.
func (a *app) diffSide(ctx context.Context, ref string, files bool) (diff.Image, error) {
	repo, tag, err := a.reference(ref)
	if err != nil {
		return diff.Image{}, err
	}
	a.doing = "reading " + ref
	side, err := readSide(ctx, repo, tag, files)
	side.Image = ref
	if err != nil && !strings.HasPrefix(err.Error(), ref+": ") { // layouts say it
		err = fmt.Errorf("%s: %w", ref, err)
	}
	return side, err
}

func readSide(ctx context.Context, repo registry.Repository, tag string, files bool) (side diff.Image, err error) {
	images, root, err := registry.Images(ctx, repo, tag)
	if err != nil {
		return side, err
	}
	if len(images) == 0 {
		return side, errors.New("an index without images")
	}
	if side.Digest, err = root.Digest(); err != nil {
		return side, err
	}
	for _, img := range images {
		part, err := diff.Read(img)
		if err == nil && files {
			err = part.ReadFiles(img)
		}
		if err != nil {
			return side, err
		}
		side.Parts = append(side.Parts, part)
	}
	labels := side.Parts[0].Config.Labels
	side.Channel, side.Rev = said.Line(labels[image.ChannelLabel]), said.Line(labels[image.RevisionLabel])
	return side, nil
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
		changed, rebuilt := s.Rows()
		if len(rebuilt) > 0 {
			fmt.Fprintf(a.stdout, "  of the same version, built anew: %s\n", plural(len(rebuilt), "package"))
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
