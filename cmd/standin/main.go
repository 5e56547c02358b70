// Command standin serves, on loopback, a miniature of what the factory asks
// GitHub and cache.nixos.org for, until it is told to stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit code: 0 when stopped by a signal, 1 on errors, 2 on wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := serveCommand(stdout, stderr)
	root.AddCommand(setHeadCommand(stdout))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "standin: stopped")
		return 130
	}
	fmt.Fprintln(stderr, "standin:", err)
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "standin: hint: standin --help")
		return 2
	}
	return 1
}

// A usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func flagError(_ *cobra.Command, err error) error { return &usageError{err} }

func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if len(args) > 0 && n == 0 {
			return &usageError{fmt.Errorf("unknown command %q", args[0])}
		}
		return &usageError{fmt.Errorf("%s: want %d arguments, got %d", cmd.Name(), n, len(args))}
	}
}

const defaultAddr = "127.0.0.1:4280"
