// Command release makes the files of a release of the factory: archives, SBOMs and
// checksums.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nixpkgs-factory/factory/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `Usage: release [--to DIR] VERSION

Makes the files of a release, such as v1.2.3, out of the sources in this folder: for
Linux and macOS, x86_64 and ARM, an archive with the program and an SBOM of it, and
the checksums of all. The sources have to be a checkout without changes of the commit
that has the version as a tag, and docs/CHANGELOG.md has to say something of it.

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	to := flags.String("to", "dist", "`folder` for the files, which is made")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	files, err := release.Make(ctx, release.Options{Source: ".", To: *to, Version: flags.Arg(0), Platforms: release.Platforms})
	if err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	for _, name := range files {
		fmt.Fprintln(stdout, name)
	}
	return 0
}
