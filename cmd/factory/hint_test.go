package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
)

func TestHint(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("anything"), ""},
		{fmt.Errorf("pushing: %w", &os.PathError{Op: "write", Path: "layer", Err: syscall.ENOSPC}), "--cache-dir"},
		{fmt.Errorf("evaluation: %w", &evaluator.MissingError{}), getNix},
	} {
		got := hint(c.err)
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("hint(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}
