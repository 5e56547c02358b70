package factory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
	"github.com/nixpkgs-factory/factory/internal/secrets"
	"github.com/nixpkgs-factory/factory/internal/serve"
)

// verify runs the configured commands with IMAGE set to the image by its
// digest. An image in an OCI layout is offered on loopback meanwhile, so that a
// container engine can pull it.
func (f *Factory) verify(ctx context.Context, repo registry.Repository, digest v1.Hash) error {
	if len(f.Config.Verify) == 0 {
		return nil
	}
	ref, closer, err := pullable(repo, digest)
	if err != nil {
		return err
	}
	defer closer()
	for _, command := range f.Config.Verify {
		f.Log.Info("verifying", "image", ref, "command", command)
		if err := f.command(ctx, command, "IMAGE="+ref); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}

// command runs a command line of the configuration. Credentials of the factory
// are not for it.
func (f *Factory) command(ctx context.Context, line string, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, maxVerify)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a stop reaches what the shell has started
	cmd.Dir = f.ConfigDir
	cmd.Env = append(secrets.Without(os.Environ(), f.hidden()...), env...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	defer func() {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing of it stays behind
		}
	}()
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done after %v: %s", maxVerify, tail(string(out)))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %s", err, tail(string(out)))
}

// maxVerify bounds a command: one that hangs must not end the daemon's work.
const maxVerify = time.Hour

// hidden are the variables of the configuration that hold secrets.
func (f *Factory) hidden() []string {
	var names []string
	for _, n := range f.Config.Notify {
		names = append(names, n.URLFrom)
		if n.SecretFrom != "" {
			names = append(names, n.SecretFrom)
		}
	}
	return names
}

// tail returns the end of a command's output, in which the reason stands.
func tail(out string) string { return said.End(out, 500) }

// pullable returns a reference by digest that container engines can pull.
func pullable(repo registry.Repository, digest v1.Hash) (ref string, done func(), err error) {
	layout, ok := repo.(registry.Folder)
	if !ok {
		return repo.Ref(digest.String()), func() {}, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: serve.Handler(layout.Dir(), layout.Repository()), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the listener is ours and open
		}
	}()
	return fmt.Sprintf("%s/%s@%s", listener.Addr(), layout.Repository(), digest), func() {
		server.Close()
		<-ended
	}, nil
}
