// Package gobuild compiles the factory: one static file, the same bytes on every
// machine that has the same Go.
package gobuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Program is what is to be compiled.
type Program struct {
	Source   string // folder of the module
	OS, Arch string // as Go names them
	Versions bool   // what version control knows of the sources gets into the program
}

// Compile compiles the program into the file to. Nothing of the folder, the machine
// and its settings gets into it.
func (p Program) Compile(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", fmt.Sprintf("-buildvcs=%t", p.Versions), "-ldflags=-s -w -buildid=", "-o", to, "./cmd/factory")
	cmd.Dir = p.Source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Arch,
		"GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && len(out) > 0:
		return errors.New(strings.TrimSpace(string(out)))
	}
	return err
}
