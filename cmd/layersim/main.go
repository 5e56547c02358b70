// Command layersim compares ways to divide images into layers, by simulation.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/layersim"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit code: 0 when all went well, 1 on errors.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := simulateCommand(stdout)
	root.AddCommand(collectCommand(stderr))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "layersim:", err)
		return 1
	}
	return 0
}

func simulateCommand(stdout io.Writer) *cobra.Command {
	var limit int
	var seed uint64
	var graph string
	cmd := &cobra.Command{
		Use:   "layersim",
		Short: "Compare ways to divide images into layers, by simulation",
		Long: `layersim plays series of closures through several ways to divide them into layers,
and prints for each series a table in Markdown: how many bytes are pushed, and how
many somebody pulls who has the image before, where layers are known by digest
(containerd, podman) and where by all that is below, too (Docker's classic store).
They are percents of the bytes of all images, nixpkgs and the root file system not
counted. The layers are the most that an image had.

The output is always the same for the same seed. docs/layers.md has it for the
default.`,
		Example: `  # what docs/layers.md has
  go run ./cmd/layersim

  # one graph, with less room for layers
  go run ./cmd/layersim --graph tools --limit 30`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(*cobra.Command, []string) error {
			all, err := layersim.AllSeries(seed)
			if err != nil {
				return err
			}
			if graph != "" {
				all = slices.DeleteFunc(all, func(s layersim.Series) bool { return s.Graph != graph })
			}
			if len(all) == 0 {
				return fmt.Errorf("there is no graph %q: miniature, tools, service and desktop are", graph)
			}
			layersim.WriteTables(stdout, all, limit)
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", layers.MaxClosureLayers, "at most `N` layers")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "what the generated series are drawn by, a `NUMBER`")
	cmd.Flags().StringVar(&graph, "graph", "", "only the series of the graph `NAME`")
	return cmd
}
