package caches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

const (
	commandLimit = time.Hour
	commandGrace = 5 * time.Second
)

// command is a program to run to its end, in our environment.
type command struct {
	name    string // looked for on PATH
	args    []string
	env     []string // besides, or instead of, our own
	stdin   string
	secrets []string      // never to be shown
	limit   time.Duration // 0: commandLimit
	grace   time.Duration // between being asked to stop and being killed; 0: commandGrace
}

var errTooLong = errors.New("took too long")

// run runs the program. When ctx is done it is asked to stop, with all that it
// started, and killed if it does not. Errors hold what it wrote to stderr, or
// the end of that.
func (c command) run(ctx context.Context) error {
	if c.limit <= 0 {
		c.limit = commandLimit
	}
	if c.grace <= 0 {
		c.grace = commandGrace
	}
	within, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(within, c.name, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	stderr := &tail{limit: 16 << 10}
	cmd.Stdout, cmd.Stderr = io.Discard, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = c.grace
	err := cmd.Run()
	if within.Err() != nil && cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not stop with its parent
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return fmt.Errorf("%s: %w (limit %s)", c.name, errTooLong, c.limit)
	}
	var missing *exec.Error
	if errors.As(err, &missing) {
		return fmt.Errorf("%s: %w", c.name, missing.Err)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	said := complaint(hide(stderr.text(), c.secrets...), exit)
	return fmt.Errorf("%s: %s", c.name, strings.TrimPrefix(said, c.name+": "))
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

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	buf   []byte
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > t.limit {
		t.buf, t.cut = append(t.buf[:0], t.buf[over:]...), true
	}
	return len(p), nil
}

// text returns whole words only: half a secret could not be recognised.
func (t *tail) text() string {
	text := string(t.buf)
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
