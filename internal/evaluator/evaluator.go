// Package evaluator runs the Nix that evaluates.
//
// Nix is used for two things only: to evaluate and, for what no binary cache
// has, to build in the machine's own store.
//
// What is evaluated is a guest: it reads the folders that it is given and
// nothing else of this machine, fetches nothing, builds nothing, starts no
// program, writes to no store and knows nothing of the user's configuration.
package evaluator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Nix is an installed Nix, or one that a nixpkgs names and that is unpacked in a
// folder: that one evaluates, and can do nothing else.
type Nix struct {
	Version string        // as in "2.8.0"
	Named   nix.StorePath // by a nixpkgs; zero: it is installed
	Limits  Limits        // of an evaluation

	Stderr io.Writer // gets what commands with the user's own configuration say meanwhile; nil: nobody

	bin      string                  // folder of nix-instantiate and nix-store, if it is installed
	store    string                  // folder that has the store objects of Named's closure
	byLoader func() (program, error) // how it runs from there, without namespaces
	trial    *trial
}

// Limits bound an evaluation. A zero field stands for its default.
type Limits struct {
	Timeout time.Duration // 10 minutes
	Memory  int64         // bytes; 4 GiB
}

func (l Limits) withDefaults() Limits {
	if l.Timeout == 0 {
		l.Timeout = 10 * time.Minute
	}
	if l.Memory == 0 {
		l.Memory = 4 << 30
	}
	return l
}

// MissingError says that there is no Nix, or an unusable one, on PATH.
type MissingError struct{ Err error }

func (e *MissingError) Error() string { return "no Nix on PATH: " + e.Err.Error() }
func (e *MissingError) Unwrap() error { return e.Err }

var versionLine = regexp.MustCompile(`\) ([0-9]+\.[0-9]+[^\s]*)`)

// Find returns the Nix on PATH, or a *MissingError.
func Find(ctx context.Context) (Nix, error) {
	file, err := exec.LookPath("nix-instantiate")
	if err != nil {
		return Nix{}, &MissingError{err}
	}
	file, err = filepath.Abs(file)
	if err != nil {
		return Nix{}, &MissingError{err}
	}
	out, err := run.Command{
		Name: file,
		Args: []string{"--version"},
		// A setting of the user's must not keep it from answering, and it needs none.
		Env:   append(run.Environ([]string{"PATH"}), "HOME=/var/empty", "NIX_CONF_DIR=/var/empty"),
		Limit: time.Minute,
	}.Run(ctx)
	var ended *run.Error
	if errors.As(err, &ended) {
		err = fmt.Errorf("%w: %s", ended.Err, lastError(ended.Stderr))
	}
	if ctx.Err() != nil {
		return Nix{}, ctx.Err()
	}
	if err != nil {
		return Nix{}, &MissingError{fmt.Errorf("%s --version: %w", file, err)}
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Nix{}, &MissingError{fmt.Errorf("%s --version says %q", file, said.Line(string(out)))}
	}
	return Nix{Version: string(m[1]), bin: filepath.Dir(file), trial: new(trial)}, nil
}

// command is one of Nix's commands with the user's own configuration and store.
func (n Nix) command(name string, args ...string) run.Command {
	return run.Command{
		Name:   filepath.Join(n.bin, name),
		Args:   args,
		Env:    run.Environ(run.Common, run.OfNix),
		Stderr: n.Stderr,
		Output: maxOutput,
	}
}

// maxOutput bounds what a command of Nix's may answer. An image's toolset has
// some 20 kB.
const maxOutput = 16 << 20

// Run runs one of Nix's commands with the user's own configuration and store,
// and returns what it wrote to stdout.
func (n Nix) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := n.command(name, args...).Run(ctx)
	return out, told(err)
}

// Stream is Run for output of any size. Reading to the end reports how the
// command ended; closing early stops it.
func (n Nix) Stream(ctx context.Context, name string, args ...string) (io.ReadCloser, error) {
	rc, err := n.command(name, args...).Stream(ctx)
	if err != nil {
		return nil, told(err)
	}
	return stream{rc}, nil
}

type stream struct{ io.ReadCloser }

func (s stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = told(err)
	}
	return n, err
}

// told is an error of a command as Nix has put it.
func told(err error) error {
	var exit *exec.ExitError
	var ended *run.Error
	if errors.As(err, &ended) && errors.As(err, &exit) {
		return fmt.Errorf("%s: %s", ended.Name, lastError(ended.Stderr))
	}
	return err
}
