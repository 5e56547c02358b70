package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nixbuild"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// buildFlags name an image that Nix builds before it is pushed.
type buildFlags struct{ file, attr string }

func (o *buildFlags) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "build from this Nix file, or from default.nix in this folder, as nix-build does")
	flags.StringVarP(&o.attr, "attr", "A", "", "build this attribute of the file (default.nix unless --file says otherwise)")
}

// own is what the flags themselves name.
func (o buildFlags) own() (nixbuild.Target, bool) {
	return nixbuild.Target{File: o.file, Attr: o.attr}, o.file != "" || o.attr != ""
}

// target is what has to be built for a source: one that begins with flake: or attr:,
// or names an output of a flake and no file.
func (o buildFlags) target(source string) (nixbuild.Target, bool) {
	if output, ok := strings.CutPrefix(source, "flake:"); ok {
		return nixbuild.Target{Flake: output}, true
	}
	if attr, ok := strings.CutPrefix(source, "attr:"); ok {
		return nixbuild.Target{File: o.file, Attr: attr}, true
	}
	if _, err := os.Lstat(source); err != nil && strings.Contains(source, "#") {
		return nixbuild.Target{Flake: source}, true
	}
	return nixbuild.Target{}, false
}

// built is what Nix has built.
type built struct {
	nixbuild.Result
	with evaluator.Nix
}

// buildImage builds an image with the Nix of this machine, whose progress is logged.
func (a *app) buildImage(ctx context.Context, target nixbuild.Target) (built, error) {
	with, err := evaluator.Find(ctx)
	if err != nil {
		return built{}, err
	}
	with.Stderr = &narrator{log: a.logger()}
	a.logger().Info("building", "target", target.String())
	result, err := nixbuild.Build(ctx, with, target)
	return built{result, with}, err
}

// narrator logs what a program says, a line at a time.
type narrator struct {
	log  *slog.Logger
	line []byte
}

// longestLine is what is kept of a line before its end is seen.
const longestLine = 8 << 10

func (n *narrator) Write(p []byte) (int, error) {
	n.line = append(n.line, p...)
	for {
		line, rest, whole := bytes.Cut(n.line, []byte("\n"))
		if !whole && len(line) < longestLine {
			return len(p), nil
		}
		if text := said.Line(string(line)); text != "" {
			n.log.Info(text)
		}
		n.line = rest
	}
}
