package standin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	programs "github.com/nixpkgs-factory/factory/internal/run"
)

// A command is a program to run to its end, in an environment of its own.
type command struct {
	name  string
	args  []string
	env   []string
	dir   string
	stdin []byte
}

// run returns what the program wrote to its standard output.
// When ctx is done it asks the program to stop, and kills it if it does not.
func (c command) run(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Env = append([]string{"PATH=" + searchPath(), "LC_ALL=C"}, c.env...)
	cmd.Dir = c.dir
	cmd.Stdin = bytes.NewReader(c.stdin)
	var stdout bytes.Buffer
	stderr := &tail{limit: 8 << 10}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	// The kernel sends the signal when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = programs.DiesWithUs()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s %s: %w\n%s", c.name, c.args[0], err, stderr.text())
	}
	return stdout.Bytes(), nil
}

// searchPath is PATH with the places of Debian's own programs first, so that a
// Nix or git that the user put elsewhere is not mixed with Debian's.
func searchPath() string {
	return "/usr/bin:/bin:/usr/sbin:/sbin:" + os.Getenv("PATH")
}

// A tail keeps the end of what is written to it.
type tail struct {
	limit int
	buf   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*t.limit {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.limit:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	return strings.TrimSpace(string(t.buf[max(0, len(t.buf)-t.limit):]))
}
