package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
)

const commandLimit = time.Hour

// execute runs a program to its end, in what of our environment Nix and its stores
// are set up by, and in c's own. Errors hold what it wrote to stderr, or the end
// of that, without the secrets.
func execute(ctx context.Context, c run.Command, secrets ...string) error {
	c.Env = append(run.Environ(run.Common, run.OfNix, run.OfStores), c.Env...)
	c.Limit, c.Discard = cmp.Or(c.Limit, commandLimit), true
	_, err := c.Run(ctx)
	var ended *run.Error
	var exit *exec.ExitError
	if !errors.As(err, &ended) || !errors.As(err, &exit) {
		return err
	}
	reason := cmp.Or(complaint(hide(ended.Stderr, secrets...)), exit.Error())
	return fmt.Errorf("%s: %s", c.Name, strings.TrimPrefix(reason, c.Name+": "))
}

// complaint returns what a program said last: from Nix's last "error:" on, or
// the last three lines.
func complaint(stderr string) string {
	if i := strings.LastIndex(stderr, "error:"); i >= 0 {
		return said.Line(stderr[i+len("error:"):])
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	return said.Line(strings.Join(lines[max(0, len(lines)-3):], "\n"))
}
