package upload

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Prober is a target that can be tried without a change to it.
type Prober interface {
	// Probe says in words what was tried with success. Its error is that of a Push
	// which would fail; a *NotPushed error says why nothing would be pushed.
	Probe(ctx context.Context) (string, error)
}

var _ = []Prober{Attic{}, Cachix{}, Store{}}

// Probe asks what a push asks first. The server answers the second question, whether it
// has an object, only those who may push.
func (a Attic) Probe(ctx context.Context) (string, error) {
	s, end, err := a.begin()
	if err != nil {
		return "", err
	}
	defer end()
	if _, err := s.config(ctx); err != nil {
		return "", conceal(err, s.Token)
	}
	nobodys, err := nix.ParseStorePathBase("00000000000000000000000000000000-probe")
	if err != nil {
		return "", err
	}
	if _, err := s.missing(ctx, []nix.PathInfo{{Path: nobodys}}, 0); err != nil {
		return "", conceal(err, s.Token)
	}
	return "the server answers, and the token may push", nil
}

// Probe looks for what a push needs on this machine. The program has no command that
// asks whether a token is taken.
func (c Cachix) Probe(context.Context) (string, error) {
	if _, err := c.ready(); err != nil {
		return "", err
	}
	return "the token is set and cachix on PATH; whether it is taken shows when something is pushed", nil
}

// Probe looks for what a push needs on this machine. To open a store that is empty, Nix
// writes into it.
func (s Store) Probe(context.Context) (string, error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	if _, err := exec.LookPath("nix"); err != nil {
		return "", fmt.Errorf("nix copy writes to it, and there is no nix on PATH")
	}
	return "the address is one and nix on PATH; whether it takes anything shows when something is pushed", nil
}
