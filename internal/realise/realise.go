// Package realise builds what no binary cache has, with the Nix of this
// machine and in its store, and reads the results from there.
//
// In go tools of a toolset, and afterwards a Store answers like a binary cache
// (Info, NAR) for what was built and all that it needs. Such infos are Ultimate:
// this machine vouches for them, and no signature does.
package realise

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// Store is the store of this machine's Nix: the daemon's, or /nix itself where
// that is writable, or what NIX_REMOTE says.
type Store struct {
	Nix evaluator.Nix

	// Caches that Nix may fetch the inputs of a build from. A daemon takes
	// them only from users it trusts and uses its own otherwise.
	Substituters []string
	Keys         []nix.PublicKey
}

func (s Store) options() []string {
	keys := make([]string, len(s.Keys))
	for i, k := range s.Keys {
		keys[i] = k.String()
	}
	options := []string{
		"--option", "substituters", strings.Join(s.Substituters, " "),
		"--option", "trusted-public-keys", strings.Join(keys, " "),
	}
	if runtime.GOOS == "linux" && !sandboxSet.MatchString(os.Getenv("NIX_CONFIG")) {
		// The builders are programs of the tree's. Nix by itself goes on without
		// a sandbox where it cannot have one, and lets them read everything.
		options = append(options, "--option", "sandbox", "true", "--option", "sandbox-fallback", "false")
	}
	return options
}

// sandboxSet tells whether the operator says how to build, in NIX_CONFIG. The
// machine's own configuration may mean builds of the machine's own.
var sandboxSet = regexp.MustCompile(`(?m)^[ \t]*(build-use-)?sandbox[ \t]*=`)

// noSandbox is how Nix says that it has none.
var noSandbox = regexp.MustCompile(`sandbox|unable to start build process`)

// Build realises the tools' outputs. The image.nix of the first folder is evaluated
// again, as restricted, this time so that the derivations of these tools are written
// to the store.
func (s Store) Build(ctx context.Context, folders []string, args toolset.Args, tools []toolset.Tool) error {
	attrs := make([]string, len(tools))
	for i, t := range tools {
		attrs[i] = t.Attr
		if err := isDerivation(t); t.DrvPath != "" && err != nil {
			return err
		}
	}
	if _, err := s.Nix.EvalHere(ctx, toolset.Expression(folders, "tools", args, toolset.Only(attrs...)), s.options()...); err != nil {
		return err
	}
	outputs := append([]string{"--realise"}, s.options()...)
	for _, t := range tools {
		if t.DrvPath == "" {
			var err error
			if t, err = s.derivation(ctx, folders, args, t); err != nil {
				return err
			}
		}
		outputs = append(outputs, t.DrvPath+"!"+t.Output)
	}
	_, err := s.Nix.Run(ctx, "nix-store", outputs...)
	if err != nil && ctx.Err() == nil && noSandbox.MatchString(err.Error()) {
		err = fmt.Errorf("%w (the tree's programs are built in a sandbox only: where this machine cannot have one and you trust them with all that the factory may read, set NIX_CONFIG='sandbox = false')", err)
	}
	return err
}

// derivation asks for what image.nix does not say of a package: how it is built.
func (s Store) derivation(ctx context.Context, folders []string, args toolset.Args, t toolset.Tool) (toolset.Tool, error) {
	for attr, to := range map[string]*string{"drvPath": &t.DrvPath, "outputName": &t.Output} {
		e := toolset.Expression(folders, fmt.Sprintf("tools.%d.%s", t.At, attr), args, nil)
		out, err := s.Nix.EvalHere(ctx, e, s.options()...)
		if err != nil {
			return t, err
		}
		if err := json.Unmarshal(out, to); err != nil {
			return t, fmt.Errorf("%s: %s: %w", t.Attr, attr, err)
		}
	}
	return t, isDerivation(t)
}

// isDerivation refuses what is none: these are texts of the tree's, and become
// arguments of a program.
func isDerivation(t toolset.Tool) error {
	drv, err := nix.ParseStorePath(t.DrvPath)
	if err != nil || !strings.HasSuffix(drv.Name(), ".drv") || !outputName.MatchString(t.Output) {
		return fmt.Errorf("%s: %q, output %q is not of a derivation", t.Attr, t.DrvPath, t.Output)
	}
	return nil
}

var outputName = regexp.MustCompile(`^[A-Za-z0-9+_?=.-]+$`)

// Info returns the path info of a valid path. It bears no signature: what was
// built here is trusted because it was built here.
func (s Store) Info(ctx context.Context, p nix.StorePath) (nix.PathInfo, error) {
	info := nix.PathInfo{Path: p, Ultimate: true}
	hash, err := s.query(ctx, "--hash", p)
	if err != nil {
		return info, err
	}
	if info.NarHash, err = nix.ParseHash(hash); err != nil {
		return info, fmt.Errorf("%s: %w", p, err)
	}
	size, err := s.query(ctx, "--size", p)
	if err != nil {
		return info, err
	}
	if info.NarSize, err = strconv.ParseInt(size, 10, 64); err != nil {
		return info, fmt.Errorf("%s: %w", p, err)
	}
	refs, err := s.query(ctx, "--references", p)
	if err != nil {
		return info, err
	}
	info.References = nix.FindStorePaths(refs)
	deriver, err := s.query(ctx, "--deriver", p)
	if err != nil {
		return info, err
	}
	if deriver != "unknown-deriver" {
		info.Deriver, _ = nix.ParseStorePath(deriver)
	}
	return info, nil
}

func (s Store) query(ctx context.Context, what string, p nix.StorePath) (string, error) {
	out, err := s.Nix.Run(ctx, "nix-store", "--query", what, p.String())
	return string(bytes.TrimSpace(out)), err
}

// NAR streams the NAR of a valid path.
func (s Store) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	return s.Nix.Stream(ctx, "nix-store", "--dump", info.Path.String())
}
