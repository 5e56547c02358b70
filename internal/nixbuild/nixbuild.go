// Package nixbuild has the Nix of this machine build what users name: outputs of
// flakes and attributes of Nix files. It tells where the result is, and what a
// later build would otherwise have to build or fetch again.
//
// What is built is the user's own: it is evaluated as nix build would, with the
// user's configuration and store, but without the factory's secrets.
package nixbuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Target names what to build.
type Target struct {
	Flake string // an output of a flake, such as .#image; "": of a file
	File  string // Nix file or a folder with default.nix; "": default.nix here
	Attr  string // attribute of the file; "": all that the file gives
}

func (t Target) String() string {
	switch {
	case t.Flake != "":
		return t.Flake
	case t.Attr == "":
		return t.file()
	}
	return t.file() + " " + t.Attr
}

func (t Target) file() string {
	if t.File == "" {
		return "default.nix"
	}
	return t.File
}

func (t Target) arguments() ([]string, error) {
	for _, arg := range []string{t.Flake, t.File, t.Attr} {
		if strings.HasPrefix(arg, "-") {
			return nil, fmt.Errorf("%q starts with a hyphen", arg)
		}
	}
	args := []string{"--extra-experimental-features", "nix-command flakes", "build", "--no-link", "--json"}
	switch {
	case t.Flake != "":
		return append(args, t.Flake), nil
	case t.Attr == "":
		return append(args, "--file", t.file()), nil
	}
	return append(args, "--file", t.file(), t.Attr), nil
}

// Result is what a build left.
type Result struct {
	Path       string        // of the output, in the store
	Derivation nix.StorePath // zero if it is not known
}

// Build builds a target.
func Build(ctx context.Context, with evaluator.Nix, t Target) (Result, error) {
	args, err := t.arguments()
	if err != nil {
		return Result{}, err
	}
	out, err := with.Run(ctx, "nix", args...)
	if err != nil {
		return Result{}, fmt.Errorf("build %s: %w", t, err)
	}
	r, err := parseResult(out)
	if err != nil {
		return Result{}, fmt.Errorf("build %s: %w", t, err)
	}
	return r, nil
}

// parseResult reads what nix build --json says.
func parseResult(data []byte) (Result, error) {
	var built []struct {
		DrvPath string            `json:"drvPath"`
		Outputs map[string]string `json:"outputs"`
	}
	if err := json.Unmarshal(data, &built); err != nil {
		return Result{}, fmt.Errorf("what Nix says of the result: %w", err)
	}
	if len(built) != 1 {
		return Result{}, fmt.Errorf("gives %d results, want one image", len(built))
	}
	outputs := built[0].Outputs
	name := "out"
	if _, there := outputs[name]; !there && len(outputs) == 1 {
		name = slices.Collect(maps.Keys(outputs))[0]
	}
	path, err := nix.ParseStorePath(outputs[name])
	if err != nil {
		return Result{}, errors.New("has no output out")
	}
	drv, _ := nix.ParseStorePath(built[0].DrvPath) // a path that was named has none
	return Result{Path: path.String(), Derivation: drv}, nil
}

// InStore tells whether a file is in the Nix store, or a link such as ./result
// leads there.
func InStore(file string) bool {
	_, err := object(file)
	return err == nil
}

// object is the store path that a file is in.
func object(file string) (nix.StorePath, error) {
	full, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nix.StorePath{}, err
	}
	if full, err = filepath.Abs(full); err != nil {
		return nix.StorePath{}, err
	}
	base, _, _ := strings.Cut(strings.TrimPrefix(full, nix.StoreDir+"/"), "/")
	return nix.ParseStorePath(nix.StoreDir + "/" + base)
}

// Before returns what is known of a file that was built at an earlier time.
func Before(ctx context.Context, with evaluator.Nix, file string) (Result, error) {
	p, err := object(file)
	if err != nil {
		return Result{}, err
	}
	out, err := with.Run(ctx, "nix-store", "--query", "--deriver", p.String())
	if err != nil {
		return Result{}, err
	}
	drv, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
	if err == nil {
		_, err = os.Stat(drv.String())
	}
	if err != nil {
		drv = nix.StorePath{} // unknown, or collected
	}
	return Result{Path: p.String(), Derivation: drv}, nil
}
