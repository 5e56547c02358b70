package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// input is something to push.
type input struct {
	arg    string
	target nixbuild.Target // what has to be built for it, if it is not there
	build  bool
}

// inputs are what the arguments name, or, without any, the flags.
func (o buildFlags) inputs(args []string) []input {
	var inputs []input
	for _, arg := range args {
		target, build := o.target(arg)
		inputs = append(inputs, input{arg, target, build})
	}
	if len(args) == 0 && (o.file != "" || o.attr != "") {
		inputs = append(inputs, input{target: nixbuild.Target{File: o.file, Attr: o.attr}, build: true})
	}
	return inputs
}

// check finds arguments and flags that do not go together.
func (o buildFlags) check(args []string) error {
	stdin, attrs := 0, 0
	for _, arg := range args {
		switch {
		case arg == "flake:" || arg == "attr:":
			return fmt.Errorf("%s names nothing: want such as flake:.#image, attr:image", arg)
		case arg == "-" || arg == "docker-archive:-":
			stdin++
		case strings.HasPrefix(arg, "attr:"):
			attrs++
		}
	}
	switch {
	case len(o.inputs(args)) == 0:
		return errors.New("name what to push: .#OUTPUT of a flake, an archive, a folder, or - for standard input")
	case len(args) > 0 && o.attr != "":
		return fmt.Errorf("--attr %s and a source are both named: several attributes are pushed as attr:A attr:B", o.attr)
	case len(args) > 0 && o.file != "" && attrs == 0:
		return fmt.Errorf("--file %s and a source are both named, and none of its attributes, such as attr:image", o.file)
	case stdin > 1:
		return errors.New("standard input can be read but once")
	}
	return nil
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

// buildAll builds what has to be built, and returns the names of all that is to be
// pushed. With before, it tells of what was built at an earlier time, too.
func (a *app) buildAll(ctx context.Context, inputs []input, before bool) (names []string, builds []built, err error) {
	for _, in := range inputs {
		var b built
		switch file := in.arg[strings.LastIndexByte(in.arg, ':')+1:]; {
		case in.build:
			if b, err = a.buildImage(ctx, in.target); err != nil {
				return nil, nil, err
			}
			in.arg = b.Path
		case before && nixbuild.InStore(file):
			if b, err = builtBefore(ctx, file); err != nil {
				return nil, nil, err
			}
		}
		names = append(names, in.arg)
		if b.Path != "" {
			builds = append(builds, b)
		}
	}
	return names, builds, nil
}

// buildImage builds an image with the Nix of this machine, whose progress is logged.
func (a *app) buildImage(ctx context.Context, target nixbuild.Target) (built, error) {
	a.doing = "building " + target.String()
	with, err := evaluator.Find(ctx)
	if err != nil {
		return built{}, err
	}
	with.Stderr = &narrator{log: a.logger()}
	a.logger().Info("building", "target", target.String())
	result, err := nixbuild.Build(ctx, with, target)
	return built{result, with}, err
}

// builtBefore is what Nix has built at an earlier time: a store path, or a link
// to one such as ./result.
func builtBefore(ctx context.Context, file string) (built, error) {
	with, err := evaluator.Find(ctx)
	if err != nil {
		return built{}, err
	}
	result, err := nixbuild.Before(ctx, with, file)
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
