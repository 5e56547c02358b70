// Package containertest lets tests pull, run and build images in real
// containers.
//
// The engines are Docker, where one answers, and buildah with chroot isolation,
// which needs no daemon. Both are used by their command lines, as people use
// them. What a test makes with an engine (containers, images, storage) is
// removed when that test ends; what a killed test left behind in Docker is
// removed by the next one that finds it an hour later.
package containertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An Engine pulls, runs and builds images. Its methods fail the test when the
// engine does; how a command in a container ends is its Result.
type Engine interface {
	// String is the name of the engine, docker or buildah.
	String() string

	// Pull fetches an image from a registry on loopback, which has no TLS, and
	// returns the name that the engine has it under.
	Pull(t testing.TB, ref string) string

	// Build builds the Dockerfile of a folder anew and returns the image's name.
	// Arguments are NAME=value. Only images that are there already can be built
	// on; RUN has this machine's network.
	Build(t testing.TB, dir string, arguments ...string) string

	// Run runs one command in a container of its own.
	Run(t testing.TB, image string, o Options, c Command) Result

	// Start makes a container for several commands, the way CI runners do: its
	// own process is tail -f /dev/null, by the tail on the image's PATH.
	Start(t testing.TB, image string, o Options) Container

	// Save writes an image into a file, a docker archive as this engine makes it.
	Save(t testing.TB, image, file string)

	// Read reads an image back from the engine.
	Read(t testing.TB, image string) Contents
}

// A Container keeps what a command has changed for the next one.
type Container interface {
	Exec(t testing.TB, c Command) Result
}

// Options are those of a container. The zero value is a container with the
// image's environment and no network.
type Options struct {
	Env         []string // NAME=value, added to the image's or in place of them
	Mounts      []Mount
	Tmpfs       []string // absolute: where something new and empty is mounted, for all to write to
	ReadOnly    bool     // the image's own files cannot be changed; buildah cannot do that
	HostNetwork bool     // the network of this machine instead of none at all
}

// A Mount shows a file or folder of this machine in a container.
type Mount struct {
	Source, Target string // absolute
	ReadOnly       bool
}

// A Command is run in a container, without a shell.
type Command struct {
	Args    []string
	Env     []string // NAME=value, in place of the container's
	User    string   // name or uid[:gid]; "" is the image's
	WorkDir string   // "" is the image's
	Stdin   string
}

// Shell is the command that gives a script to the container's sh.
func Shell(script string) Command { return Command{Args: []string{"sh", "-c", script}} }

// Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Engines returns the engines of this machine: docker, if an engine answers, and
// buildah, if it is installed and the test is root. The test is skipped where
// there is none. They are for this test and its subtests, of which several may
// use one at the same time.
func Engines(t testing.TB) []Engine {
	t.Helper()
	var engines []Engine
	if d, ok := findDocker(t); ok {
		engines = append(engines, d)
	}
	if b, ok := findBuildah(t); ok {
		engines = append(engines, b)
	}
	if len(engines) == 0 {
		t.Skip("no Docker engine answers, and there is no buildah or no root to run it")
	}
	return engines
}

// patience is how long any command of an engine may take.
const patience = 5 * time.Minute

// run runs a program on this machine.
func run(ctx context.Context, stdin string, argv ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		f, err := unlinked(stdin)
		if err != nil {
			return Result{Code: -1}, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	err := cmd.Run()
	r := Result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return r, err
}

// unlinked returns an open file without a name. For standard input it is better
// than a pipe: buildah may lose a command's output when that ends early.
func unlinked(text string) (*os.File, error) {
	f, err := os.CreateTemp("", "containertest-")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(text)
	_, seek := f.Seek(0, io.SeekStart)
	if err := errors.Join(err, seek, os.Remove(f.Name())); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// do runs a program on this machine that has to work, and returns its output
// without the last line's end.
func do(t testing.TB, argv ...string) string {
	t.Helper()
	r, err := run(t.Context(), "", argv...)
	if err != nil || r.Code != 0 {
		t.Fatalf("%q: exit code %d, %v\n%s%s", argv, r.Code, err, r.Stdout, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// later runs a program when the test is over. That it fails is told, and does
// not fail the test.
func later(t testing.TB, argv ...string) {
	t.Cleanup(func() {
		if r, err := run(context.Background(), "", argv...); err != nil || r.Code != 0 {
			t.Logf("clean-up: %q: exit code %d, %v\n%s", argv, r.Code, err, r.Stderr)
		}
	})
}

// flags returns a flag in front of each value.
func flags(flag string, values []string) []string {
	var list []string
	for _, v := range values {
		list = append(list, flag, v)
	}
	return list
}
