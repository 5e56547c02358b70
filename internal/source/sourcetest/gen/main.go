// Command gen writes an archive of the size and shape of nixpkgs, the same one each time.
//
//	go run ./internal/source/sourcetest/gen -o nixpkgs.tar.gz
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 written, 1 not written, 2 wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var opts sourcetest.Options
	flags.IntVar(&opts.Files, "files", 50_000, "number of files")
	flags.Int64Var(&opts.Bytes, "bytes", 200_000_000, "about the size of all files together")
	out := flags.String("o", "", "file to write (default standard output)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "gen: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if err := write(*out, stdout, opts); err != nil {
		fmt.Fprintf(stderr, "gen: %v\n", err)
		return 1
	}
	return 0
}

func write(name string, stdout io.Writer, opts sourcetest.Options) error {
	if name == "" {
		return writeTo(stdout, opts)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(writeTo(f, opts), f.Close())
}

func writeTo(out io.Writer, opts sourcetest.Options) error {
	w := bufio.NewWriterSize(out, 1<<20)
	if err := sourcetest.Write(w, opts); err != nil {
		return err
	}
	return w.Flush()
}
