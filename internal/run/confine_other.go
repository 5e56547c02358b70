//go:build !linux

package run

import (
	"context"
	"errors"
	"os/exec"
)

// prepare makes the command of a program. There are no limits and no namespaces
// on this system.
func (c Command) prepare(ctx context.Context) (*exec.Cmd, error) {
	if c.Confined != nil && c.Confined.Namespaces != nil {
		return nil, errors.New("no namespaces on this system")
	}
	return command(ctx, c.Name, c.Args...)
}

// TryNamespaces says why there are none.
func TryNamespaces(context.Context) error { return errors.New("no namespaces on this system") }

func conceal() {}
