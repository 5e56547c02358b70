package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/grouping"
	"github.com/nixpkgs-factory/factory/internal/layersim"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// debian are the graphs that are made of Debian's package index, by what is installed.
var debian = []struct {
	name     string
	packages []string
}{
	{"tools", []string{"nix-bin", "git", "openssh-client", "curl", "jq", "less", "tmate", "xz-utils", "zstd", "ca-certificates", "build-essential", "python3"}},
	{"service", []string{"postgresql", "nginx", "php-fpm", "imagemagick"}},
	{"desktop", []string{"inkscape"}},
}

// since is where the recorded releases begin: the day on which Debian 11 was released
// and unstable became what was to be Debian 12.
var since = time.Date(2021, 8, 14, 0, 0, 0, 0, time.UTC)

func collectCommand(stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "collect DIR",
		Short: "Make anew the files that the simulation reads: graphs and release dates",
		Long: `collect writes to DIR what the simulation is embedded with:

  miniature.txt  the closure of the stand-in's base image, from its narinfos
  tools.txt, service.txt, desktop.txt
                 closures of Debian packages, from apt's package index
  releases.txt   when each of their sources was released, from its changelog

Only facts are kept: names, sizes, dependencies, versions and days. It needs a
Debian 12 whose package lists are fresh (apt-get update), downloads some 300 MB of
packages to read their changelogs, and what "go run ./cmd/standin" needs.`,
		Example: `  go run ./cmd/layersim collect internal/layersim/data`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return collect(cmd.Context(), args[0], stderr)
		},
	}
}

func collect(ctx context.Context, dir string, stderr io.Writer) error {
	fmt.Fprintln(stderr, "miniature: making the stand-in's packages")
	g, err := miniature(ctx, stderr)
	if err != nil {
		return fmt.Errorf("miniature: %w", err)
	}
	const columns = "# package, its source, bytes installed, bytes compressed, what it needs\n"
	if err := save(dir, "miniature", columns, g.Write); err != nil {
		return err
	}
	var releases []layersim.Release
	for _, d := range debian {
		fmt.Fprintln(stderr, d.name+": reading Debian's packages")
		g, err := aptGraph(ctx, d.packages)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if err := save(dir, d.name, "# Debian 12, amd64: "+strings.Join(d.packages, " ")+"\n"+columns, g.Write); err != nil {
			return err
		}
		more, err := aptReleases(ctx, d.packages, since)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		releases = append(releases, more...)
	}
	return save(dir, "releases", "# Debian changelogs: source, day, suite, version\n", func(w io.Writer) error {
		return layersim.WriteReleases(w, releases)
	})
}

func save(dir, name, head string, write func(io.Writer) error) error {
	var text strings.Builder
	text.WriteString(head)
	if err := write(&text); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text.String()), 0o644)
}

// miniatureTools are the tools of images/base that the miniature nixpkgs has.
var miniatureTools = []string{
	"nix", "bashInteractive", "coreutils", "findutils", "cacert", "gnutar", "gzip", "cachix", "attic-client", "gitMinimal",
	"openssh", "curl", "xz", "zstd", "gnused", "gnugrep", "jq", "less", "tmate", "nix-ld",
}

// miniature makes the graph of the stand-in's base image.
func miniature(ctx context.Context, stderr io.Writer) (layersim.Graph, error) {
	fixture, err := standin.Prepare(ctx, standin.Options{})
	if err != nil {
		return layersim.Graph{}, err
	}
	outputs := fixture.Outputs(fixture.Commit("release-leaf").Rev, "x86_64-linux")
	nodes := make(map[string]layersim.Node)
	var roots []string
	for _, tool := range miniatureTools {
		path, err := nix.ParseStorePath(outputs[tool][0])
		if err != nil {
			return layersim.Graph{}, fmt.Errorf("%s: %w", tool, err)
		}
		if err := readNarinfos(fixture.CacheFolder(), path, nodes); err != nil {
			return layersim.Graph{}, fmt.Errorf("%s: %w", tool, err)
		}
		roots = append(roots, label(path))
	}
	return layersim.Order("miniature", nodes, roots)
}

// readNarinfos reads the narinfo of a path, and those of what it refers to.
func readNarinfos(cache string, path nix.StorePath, nodes map[string]layersim.Node) error {
	if _, done := nodes[label(path)]; done {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(cache, path.Digest()+".narinfo"))
	if err != nil {
		return err
	}
	info, err := nix.ParseNARInfo(data)
	if err != nil {
		return err
	}
	node := layersim.Node{Package: layersim.Package{
		Source: grouping.Package(path.Name()), Installed: info.NarSize, Packed: cmp.Or(info.FileSize, info.NarSize),
	}}
	others := slices.DeleteFunc(slices.Clone(info.References), path.Equal)
	for _, ref := range others {
		node.Needs = append(node.Needs, label(ref))
	}
	nodes[label(path)] = node
	for _, ref := range others {
		if err := readNarinfos(cache, ref, nodes); err != nil {
			return err
		}
	}
	return nil
}

// label is what a path is called in a graph: without the digest and the version,
// but with the output.
func label(path nix.StorePath) string {
	name := grouping.Package(path.Name())
	if _, output, ok := strings.Cut(strings.TrimPrefix(path.Name(), name+"-"), "-"); ok {
		name += "-" + output
	}
	return name
}
