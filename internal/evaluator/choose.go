package evaluator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Choice says which Nix evaluates a nixpkgs.
type Choice string

const (
	Auto Choice = "auto" // the tree's, or the one on PATH where that cannot be had
	Tree Choice = "tree" // the tree's
	Path Choice = "path" // the one on PATH
)

// Choices are all that there are.
var Choices = []string{string(Auto), string(Tree), string(Path)}

// MaxClosure bounds what a Nix may consist of, in bytes of its NARs. Real ones
// have some 200 MB.
const MaxClosure = 2 << 30

// Chooser finds the Nix that evaluates a tree, and keeps those that trees name.
type Chooser struct {
	Choice    Choice
	Keep      keep.Folder
	Installed func(context.Context) (Nix, error) // the one on PATH
	Log       *slog.Logger

	mu     sync.Mutex
	trials map[nix.StorePath]*trial
	told   string // what was said last of why it is not the tree's
}

// File waits for the FallbackFile of a tree, and tells whether it has one of at
// most MaxFallbackFile bytes.
type File func() (text []byte, there bool, err error)

// UnfitError says why it cannot be the tree's Nix that evaluates, on this machine.
type UnfitError struct{ Why error }

func (e *UnfitError) Error() string { return "the tree's own Nix: " + e.Why.Error() }
func (e *UnfitError) Unwrap() error { return e.Why }

func unfit(format string, args ...any) error { return &UnfitError{fmt.Errorf(format, args...)} }

// For returns the Nix that evaluates a tree. What it takes to try a tree's own goes into
// the folder scratch. The Nix is there until release is called.
func (c *Chooser) For(ctx context.Context, file File, scratch, label string) (n Nix, release func(), err error) {
	if c.Choice == Path {
		n, err = c.Installed(ctx)
		return n, func() {}, err
	}
	n, release, err = c.ofTree(ctx, file, scratch, label)
	if err == nil || c.Choice == Tree || !errors.As(err, new(*UnfitError)) {
		return n, release, err
	}
	n, missing := c.Installed(ctx)
	if missing != nil {
		return n, nil, fmt.Errorf("%w; %w", err, missing)
	}
	c.tell(n, err)
	return n, func() {}, nil
}

// tell says why it is not the tree's Nix, unless it has just been said.
func (c *Chooser) tell(n Nix, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := why.Error(); text != c.told {
		c.told = text
		c.Log.Info("the Nix on PATH evaluates", "version", n.Version, "because", text)
	}
}

// ofTree returns the Nix that a tree names.
func (c *Chooser) ofTree(ctx context.Context, file File, scratch, label string) (Nix, func(), error) {
	root, err := wanted(file)
	if err != nil {
		return Nix{}, nil, err
	}
	kept, release, err := c.Keep.Take(ctx, root, label+" Nix")
	switch {
	case errors.Is(err, binarycache.ErrNotFound):
		return Nix{}, nil, &UnfitError{err}
	case err != nil:
		return Nix{}, nil, fmt.Errorf("the tree's own Nix: %w", err)
	}
	n, err := c.unpacked(kept)
	if err != nil {
		release()
		return Nix{}, nil, err
	}
	mode, err := n.Mode(ctx, scratch)
	if err != nil {
		release()
		if ctx.Err() != nil {
			return Nix{}, nil, err
		}
		return Nix{}, nil, &UnfitError{fmt.Errorf("%s: %w", root.Base(), err)}
	}
	if kept.Damage != nil {
		c.Log.Warn("the Nix that was kept was damaged and has been replaced", "nix", root, "damage", kept.Damage)
	}
	c.Log.Debug("the tree's own Nix evaluates", "version", n.Version, "nix", root, "bytes", kept.Fetched, "mode", mode)
	return n, release, nil
}

// unpacked is a Nix that remembers how it can be run.
func (c *Chooser) unpacked(kept keep.Closure) (Nix, error) {
	n, err := Unpacked(kept)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trials == nil {
		c.trials = make(map[nix.StorePath]*trial)
	}
	if c.trials[n.Named] == nil {
		c.trials[n.Named] = n.trial
	}
	n.trial = c.trials[n.Named]
	return n, err
}

// wanted reads which Nix a tree names for this machine.
func wanted(file File) (nix.StorePath, error) {
	system, err := system()
	if err != nil {
		return nix.StorePath{}, &UnfitError{err}
	}
	text, there, err := file()
	if err != nil {
		return nix.StorePath{}, err
	}
	if !there {
		return nix.StorePath{}, unfit("it names none")
	}
	paths, err := Named(text)
	if err != nil {
		return nix.StorePath{}, &UnfitError{err}
	}
	root, ok := paths[system]
	if !ok {
		return root, unfit("it names none for %s", system)
	}
	v, err := version(root)
	if err == nil && Older(v, Oldest) {
		err = fmt.Errorf("%s is older than %s", root.Base(), Oldest)
	}
	if err != nil {
		return root, &UnfitError{err}
	}
	return root, nil
}

// system is what a Nix of this machine is called in nixpkgs.
func system() (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("it cannot be run on %s", runtime.GOOS)
	}
	known := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64", "ppc64le": "powerpc64le"}
	cpu, ok := known[runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("it names none for %s", runtime.GOARCH)
	}
	return cpu + "-linux", nil
}
