package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/cycle"
)

type publishIndexOptions struct {
	parts, due string
	output
}

func (a *app) publishIndexCommand() *cobra.Command {
	var o publishIndexOptions
	cmd := &cobra.Command{
		Use:   "publish-index --parts DIR [--due MATRIX]",
		Short: "Join images that factory build has pushed, and publish them",
		Long: `Reads the parts that factory build --part has left in a folder (*.json), joins those
of each image of a commit into one index, checks it and sets the tags. An image that
lacks one of its systems is not published.

--due takes the output matrix of factory plan --output github. An image that was due
but has no part at all then counts as a failure: it is recorded, and the webhooks are
told.

JSON: as factory run --once.`,
		Example: `  factory publish-index --parts parts
  FACTORY_DUE=$MATRIX factory publish-index --parts parts`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.publishIndex(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.parts, "parts", "", "folder with the parts (required)")
	cmd.Flags().StringVar(&o.due, "due", "", "the matrix that the parts were built from (FACTORY_DUE)")
	o.addFlag(cmd)
	return cmd
}

func (a *app) publishIndex(ctx context.Context, o publishIndexOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.parts == "" {
		return usageError{errors.New("say where the parts are: factory publish-index --parts DIR")}
	}
	commits, err := readParts(o.parts)
	if err != nil {
		return usageError{err}
	}
	due := a.setting(o.due, "FACTORY_DUE")
	if len(commits) == 0 && due == "" {
		return usageError{fmt.Errorf("--parts: there is no part (*.json) in %s: factory build --part leaves them", o.parts)}
	}
	if due != "" {
		m, err := parseMatrix(due)
		if err != nil {
			return usageError{fmt.Errorf("--due: %w", err)}
		}
		commits = addDue(commits, m)
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
	return a.tellAll(ctx, f, hooks, o.output, results)
}

// addDue adds the commits and images of a matrix of which there is no part, each with
// a part for no system.
func addDue(commits [][]cycle.Part, m matrix) [][]cycle.Part {
	for _, e := range m.Include {
		for _, name := range e.names() {
			is := func(c []cycle.Part) bool {
				return c[0].Channel == e.Channel && c[0].ImageName == name && c[0].Rev == e.Rev
			}
			if !slices.ContainsFunc(commits, is) {
				commits = append(commits, []cycle.Part{{Channel: e.Channel, ImageName: name, Rev: e.Rev}})
			}
		}
	}
	return commits
}
