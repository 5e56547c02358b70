// Package pkgmeta asks a nixpkgs what it says of store paths: names, licences,
// sources. The tree's Nix evaluates it, within the same bounds as an image.
//
// A path is told of only where a package of the tree says that it is its output.
// Packages that the tree refuses, and paths that no package leads to, are absent.
package pkgmeta

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/sbom"
)

//go:embed meta.nix
var expression []byte

// Question is what is asked.
type Question struct {
	Nixpkgs string   // folder of the unpacked tree
	System  string   // as in x86_64-linux
	Attrs   []string // packages to begin at
	Paths   []nix.StorePath
}

// asked is a question as the expression reads it.
type asked struct {
	Attrs []string `json:"attrs"`
	Names []string `json:"names"`
	Paths []string `json:"paths"`
}

// Ask evaluates the expression. What it and Nix need to write goes into the folder
// scratch.
func Ask(ctx context.Context, cli evaluator.Nix, scratch string, q Question) (map[nix.StorePath]sbom.Meta, error) {
	dir := filepath.Join(scratch, "meta")
	if err := q.write(dir); err != nil {
		return nil, err
	}
	out, err := cli.Eval(ctx, filepath.Join(scratch, "nix"), evaluator.Expression{
		File: filepath.Join(dir, "meta.nix"),
		Args: map[string]string{"nixpkgs": q.Nixpkgs, "system": q.System},
		Read: []string{q.Nixpkgs, dir},
	})
	if err != nil {
		return nil, err
	}
	return parse(out)
}

// write lays the expression and the question into a folder that it may read.
func (q Question) write(dir string) error {
	a := asked{Attrs: append([]string{}, q.Attrs...), Names: []string{}, Paths: []string{}}
	for _, p := range q.Paths {
		a.Paths = append(a.Paths, p.String())
		if name, _ := sbom.SplitName(p.Name()); !slices.Contains(a.Names, name) {
			a.Names = append(a.Names, name)
		}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "asked.json"), data, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "meta.nix"), expression, 0o644)
}

func parse(out []byte) (map[nix.StorePath]sbom.Meta, error) {
	var all map[string]sbom.Meta
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("what nixpkgs says of packages: %w", err)
	}
	known := make(map[nix.StorePath]sbom.Meta, len(all))
	for path, meta := range all {
		p, err := nix.ParseStorePath(path)
		if err != nil {
			return nil, fmt.Errorf("what nixpkgs says of packages: %w", err)
		}
		known[p] = meta
	}
	return known, nil
}
