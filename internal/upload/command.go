package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
)

const commandLimit = time.Hour

// command is a program to run to its end, in what of our environment Nix and
// its stores are set up by.
type command struct {
	name    string // looked for on PATH
	args    []string
	env     []string // besides, or instead of, our own
	stdin   io.Reader
	secrets []string      // never to be shown
	limit   time.Duration // 0: commandLimit
}

// run runs the program. Errors hold what it wrote to stderr, or the end of that.
func (c command) run(ctx context.Context) error {
	if c.limit <= 0 {
		c.limit = commandLimit
	}
	_, err := run.Command{
		Name:    c.name,
		Args:    c.args,
		Env:     append(run.Environ(run.Common, run.OfNix, run.OfStores), c.env...),
		Stdin:   c.stdin,
		Discard: true,
		Limit:   c.limit,
	}.Run(ctx)
	var ended *run.Error
	var exit *exec.ExitError
	if !errors.As(err, &ended) || !errors.As(err, &exit) {
		return err
	}
	reason := complaint(hide(ended.Stderr, c.secrets...), exit)
	return fmt.Errorf("%s: %s", c.name, strings.TrimPrefix(reason, c.name+": "))
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// complaint returns what a program said last: from Nix's last "error:" on, or
// the last three lines, or how it ended.
func complaint(stderr string, exit *exec.ExitError) string {
	text := colours.ReplaceAllString(stderr, "")
	if i := strings.LastIndex(text, "error:"); i >= 0 {
		text = text[i+len("error:"):]
	} else {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		text = strings.Join(lines[max(0, len(lines)-3):], "\n")
	}
	if text = said.Line(text); text != "" {
		return text
	}
	return exit.Error()
}
