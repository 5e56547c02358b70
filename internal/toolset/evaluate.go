package toolset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/run"
)

// Evaluate evaluates image.nix in the folder image. What Nix needs to write
// goes into the folder scratch.
//
// An optional tool may end the evaluation in a way that no expression can
// catch. Then, and only then, the tools are evaluated one by one, and those
// that fail are left out.
func Evaluate(ctx context.Context, cli evaluator.Nix, image, scratch string, args Args) (Toolset, error) {
	if err := checkVersion(cli.Version, args.Nixpkgs); err != nil {
		return Toolset{}, err
	}
	folders, err := recipe.Folders(image)
	if err != nil {
		return Toolset{}, err
	}
	e := evaluation{cli: cli, scratch: scratch, folders: folders, args: args}
	set, err := e.whole(ctx)
	if !errors.As(err, new(*evaluator.EvalError)) {
		return set, err
	}
	broken, why := e.broken(ctx)
	switch {
	case why != nil:
		return Toolset{}, why
	case len(broken) == 0:
		return Toolset{}, err
	}
	for _, b := range broken {
		e.args.Without = append(e.args.Without, b.Attr)
	}
	set, err = e.whole(ctx)
	set.Broken = broken
	return set, err
}

// Expression is the image.nix of the first folder, called with args, or an
// attribute of what it returns. It may read the tree and the folders that its
// image is made of.
func Expression(folders []string, attr string, args Args, more map[string]string) evaluator.Expression {
	given := args.Strings()
	for name, value := range more {
		given[name] = value
	}
	return evaluator.Expression{
		File: filepath.Join(folders[0], "image.nix"),
		Attr: attr,
		Args: given,
		Read: append([]string{args.Nixpkgs}, folders...),
	}
}

// Only is the argument that makes image.nix look at some tools alone.
func Only(attrs ...string) map[string]string {
	return map[string]string{"only": asJSON(append([]string{}, attrs...))}
}

// evaluation is what every evaluation of an image folder with a nixpkgs has in
// common.
type evaluation struct {
	cli     evaluator.Nix
	scratch string
	folders []string // the image's own, and those that it builds on
	args    Args
}

func (e evaluation) whole(ctx context.Context) (Toolset, error) {
	out, err := e.cli.Eval(ctx, e.scratch, Expression(e.folders, "", e.args, nil))
	if err != nil {
		return Toolset{}, err
	}
	set, err := Parse(out)
	if err == nil && !set.HasNixpkgs() {
		err = set.independent(e.args)
	}
	if err != nil {
		return Toolset{}, fmt.Errorf("%s: %w", filepath.Join(e.folders[0], "image.nix"), err)
	}
	return set, nil
}

// broken returns the optional tools that fail by themselves. There are none if
// what fails is not a tool. A required one that fails is an error, and so is it
// when all of this takes longer than one evaluation may.
func (e evaluation) broken(ctx context.Context) ([]Broken, error) {
	limit := e.cli.Limits.Timeout
	if limit == 0 {
		limit = 10 * time.Minute
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wanted []Wanted
	out, err := e.cli.Eval(within, e.scratch, Expression(e.folders, "wanted", e.args, nil))
	if err == nil {
		err = json.Unmarshal(out, &wanted)
	}
	if err == nil {
		_, err = e.cli.Eval(within, e.scratch, Expression(e.folders, "tools", e.args, Only()))
	}
	if err != nil {
		return nil, ctx.Err() // it is not for a tool that it fails
	}
	var all []Broken
	for _, tool := range wanted {
		_, err := e.cli.Eval(within, e.scratch, Expression(e.folders, "tools", e.args, Only(tool.Attr)))
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case within.Err() != nil:
			return nil, fmt.Errorf("looking for the tool that fails: %w", &run.TimeError{Limit: limit})
		case tool.Required:
			return nil, fmt.Errorf("required tool %s: %w", tool.Attr, err)
		case !errors.As(err, new(*evaluator.EvalError)):
			return nil, fmt.Errorf("tool %s: %w", tool.Attr, err)
		default:
			all = append(all, Broken{Attr: tool.Attr, Err: err})
		}
	}
	return all, nil
}
