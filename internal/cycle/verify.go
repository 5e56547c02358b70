package cycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
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

// command runs a command line of the configuration. It has what finds programs
// and container engines of the factory's environment, and no credentials.
func (f *Factory) command(ctx context.Context, line string, env ...string) error {
	_, err := run.Command{
		Name:    "sh",
		Args:    []string{"-c", line},
		Dir:     f.ConfigDir,
		Env:     append(run.Environ(run.Common, run.OfVerify), env...),
		Combine: true,
		Limit:   maxVerify,
		Grace:   10 * time.Second,
	}.Run(ctx)
	var ended *run.Error
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %s", ended.Err, tail(ended.Stderr))
	}
	return err
}

// maxVerify bounds a command: one that hangs must not end the daemon's work.
const maxVerify = time.Hour

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
