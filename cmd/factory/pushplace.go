package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/push"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
	programs "github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// destination opens the repository that is pushed to, and those of images that
// are alike.
func (a *app) destination(p *push.Pusher, at string, like []string) error {
	to, err := parsePlace(at + ":x")
	if err == nil && !strings.Contains(at, "/") && to.Dir == "" {
		err = errors.New("names no registry: want HOST/PATH:TAG, such as ghcr.io/my-org/app:main, or docker.io/my-org/app:main for Docker Hub")
	}
	if err != nil {
		return usageError{fmt.Errorf("--to %s: %w", at, err)}
	}
	open, err := a.opener(to)
	if err != nil {
		return err
	}
	if p.To, err = open(to); err != nil {
		return err
	}
	for _, ref := range like {
		other, err := parsePlace(ref)
		if err == nil && (other.Dir != to.Dir || to.Dir == "" && other.Remote.RegistryStr() != to.Remote.RegistryStr()) {
			err = errors.New("want an image in the registry that is pushed to: layers cannot be taken from another one")
		}
		if err != nil {
			return usageError{fmt.Errorf("--like %s: %w", ref, err)}
		}
		repo, err := open(other)
		if err != nil {
			return err
		}
		p.Like = append(p.Like, reuse.Place{Repository: repo, Tags: []string{other.Tag}, Named: true})
	}
	return nil
}

func parsePlace(ref string) (registry.Reference, error) {
	if !strings.HasPrefix(ref, "oci:") {
		if err := noReference(ref); err != nil {
			return registry.Reference{}, err
		}
	}
	return registry.ParseReference(ref)
}

// opener returns how repositories of the registry are opened that a place is in.
func (a *app) opener(to registry.Reference) (func(registry.Reference) (registry.Repository, error), error) {
	if to.Dir != "" {
		return func(ref registry.Reference) (registry.Repository, error) {
			return registry.Layout(ref.Dir, ref.Name), nil
		}, nil
	}
	keychain, err := a.keychain([]config.Destination{{Registry: to.Remote.RegistryStr()}})
	if err != nil {
		return nil, err
	}
	o := a.registryOptions(keychain)
	o.Sent = &a.moved.Pushed
	o.Push = true
	client := registry.NewClient(o)
	return func(ref registry.Reference) (registry.Repository, error) { return client.Repository(ref.Remote) }, nil
}

// checkout returns the commit of the git checkout in this folder, and tells if
// there is more in it than the commit has.
func (a *app) checkout(ctx context.Context) (string, error) {
	rev, err := gitSays(ctx, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return "", err
	}
	changed, err := gitSays(ctx, "status", "--porcelain", "--untracked-files=no")
	if err == nil && changed != "" {
		a.logger().Warn("files of the checkout have changes that are not committed: {rev} is the commit before them", "rev", rev)
	}
	return rev, err
}

func gitSays(ctx context.Context, args ...string) (string, error) {
	// In jobs that run in containers the checkout is often another user's.
	args = append([]string{"-c", "safe.directory=*"}, args...)
	out, err := programs.Command{Name: "git", Args: args, Env: programs.Environ(programs.Common)}.Run(ctx)
	var ended *programs.Error
	if errors.As(err, &ended) && ended.Stderr != "" {
		err = fmt.Errorf("git: %s", said.End(ended.Stderr, said.Most))
	}
	return strings.TrimSpace(string(out)), err
}
