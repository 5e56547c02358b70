// Package nixcli runs the Nix that is installed on this machine.
//
// Nix is used for two things only: to evaluate (which writes to no store and
// sees nothing of the user's configuration) and, for what no binary cache has,
// to build in the machine's own store.
package nixcli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
	"github.com/nixpkgs-factory/factory/internal/secrets"
)

// Nix is an installed Nix.
type Nix struct {
	Version string   // as in "2.8.0"
	Hidden  []string // variables that Nix must not see, besides those of package secrets
	bin     string   // folder of nix-instantiate and nix-store
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
	version := exec.CommandContext(ctx, file, "--version")
	// A setting of the user's must not keep it from answering, and it needs none.
	version.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/var/empty", "NIX_CONF_DIR=/var/empty"}
	out, err := version.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastError(string(exit.Stderr)))
	}
	if err != nil {
		return Nix{}, &MissingError{fmt.Errorf("%s --version: %w", file, err)}
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Nix{}, &MissingError{fmt.Errorf("%s --version says %q", file, said.Line(string(out)))}
	}
	return Nix{Version: string(m[1]), bin: filepath.Dir(file)}, nil
}

// EvalError is what Nix said when it refused an expression.
type EvalError struct{ Stderr string }

func (e *EvalError) Error() string { return "nix-instantiate: " + lastError(e.Stderr) }

// Eval evaluates the function in file with string arguments, strictly, and
// returns the result as JSON. The run has a scratch folder of its own for
// everything that Nix might write, and no network setting, registry, overlay
// or configuration of the user's.
//
// The store is the dummy store, to which nothing can be written. Some versions
// refuse to evaluate with it; then the run is repeated with a store below
// scratch that is thrown away with it.
func (n Nix) Eval(ctx context.Context, scratch, file string, args map[string]string) ([]byte, error) {
	out, err := n.eval(ctx, scratch, "dummy://", file, args)
	var refused *EvalError
	if !errors.As(err, &refused) || !dummyRefused.MatchString(refused.Stderr) {
		return out, err
	}
	return n.eval(ctx, scratch, "local?root="+filepath.Join(scratch, "root"), file, args)
}

// What versions of Nix say when an evaluation needs a store that can be asked
// or written to.
var dummyRefused = regexp.MustCompile(`dummy|is not supported by store|is not valid|don't know how to open Nix store`)

func (n Nix) eval(ctx context.Context, scratch, store, file string, args map[string]string) ([]byte, error) {
	argv := []string{"--eval", "--strict", "--json", "--readonly-mode", file}
	for _, name := range sortedKeys(args) {
		argv = append(argv, "--argstr", name, args[name])
	}
	cmd := n.command(ctx, "nix-instantiate", argv...)
	env, err := isolated(scratch, store)
	if err != nil {
		return nil, err
	}
	cmd.Env = env
	cmd.Dir = scratch
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &EvalError{Stderr: stderr.String()}
	}
	return stdout.Bytes(), nil
}

// isolated returns an environment in which Nix finds nothing of the user's.
func isolated(scratch, store string) ([]string, error) {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"NIX_REMOTE=" + store,
		"NIX_CONFIG=allow-import-from-derivation = false\nsubstitute = false",
		"NIX_USER_CONF_FILES=",
		"NIX_PATH=",
	}
	for _, name := range []string{
		"HOME", "TMPDIR", "NIX_CONF_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR",
		"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
	} {
		dir := filepath.Join(scratch, strings.ToLower(name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		env = append(env, name+"="+dir)
	}
	return env, nil
}

// Run runs one of Nix's commands with the user's own configuration and store,
// and returns what it wrote to stdout.
func (n Nix) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := n.command(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %s", name, lastError(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// command makes a command that is asked to stop before it is killed, so that
// Nix can release what it holds.
func (n Nix) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin, name), args...)
	cmd.Env = secrets.Without(os.Environ(), n.Hidden...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// lastError returns the part of Nix's messages that says what is wrong: from
// the last "error:" on, in one line, without the excerpt of the source and
// advice about Nix's own options.
func lastError(stderr string) string {
	const most = 500
	text := ansi.ReplaceAllString(stderr, "")
	if i := strings.LastIndex(text, "error:"); i >= 0 {
		text = text[i+len("error:"):]
	}
	var kept []string
	for line := range strings.Lines(text) {
		if !excerpt.MatchString(strings.TrimSpace(line)) {
			kept = append(kept, strings.Fields(line)...)
		}
	}
	text = strings.TrimSuffix(strings.Join(kept, " "), ":")
	if text == "" {
		text = "it ended without a message"
	}
	return said.Begin(text, most)
}

// Lines that show the source with line numbers and a mark, or advise --show-trace.
var excerpt = regexp.MustCompile(`^([0-9]*\|.*|\(use '--show-trace'.*)$`)

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Stream is Run for output of any size. Reading to the end reports how the
// command ended; closing early stops it.
func (n Nix) Stream(ctx context.Context, name string, args ...string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := n.command(ctx, name, args...)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return &stream{cmd: cmd, out: out, stderr: stderr, cancel: cancel}, nil
}

type stream struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	stderr *bytes.Buffer
	cancel context.CancelFunc
	end    error // once the command was waited for
}

func (s *stream) Read(p []byte) (int, error) {
	if s.end != nil {
		return 0, s.end
	}
	n, err := s.out.Read(p)
	if err == io.EOF {
		s.end = io.EOF
		if wait := s.cmd.Wait(); wait != nil {
			s.end = fmt.Errorf("%s: %s", filepath.Base(s.cmd.Path), lastError(s.stderr.String()))
		}
		return n, s.end
	}
	return n, err
}

func (s *stream) Close() error {
	s.cancel()
	if s.end == nil {
		s.end = os.ErrClosed
		s.cmd.Wait() // its failure is our own doing
	}
	return nil
}
