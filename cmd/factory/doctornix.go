package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/keep"
	programs "github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// examineNix says which Nix evaluates, and tries how.
func examineNix(ctx context.Context, c config.Config) []finding {
	installed, missing := evaluator.Find(ctx)
	if c.Nix == string(evaluator.Path) {
		found := judge("Nix", "the one on PATH, "+installed.Version, missing, getNix+"; or say nix: auto")
		if missing == nil && toolset.TooOldForNewest(installed.Version) {
			found.Advice = "newer trees of nixpkgs want " + toolset.Newest + " or newer: say nix: auto, or " + getNix
		}
		if missing != nil {
			return []finding{found}
		}
		return []finding{found, examineEvaluation(ctx, installed)}
	}
	found := finding{Check: "Nix", OK: true, Detail: "that of each nixpkgs; " + kept(c) + "; " + onPath(installed, missing)}
	if missing != nil {
		found.Advice = "nothing has to be done, unless a tool that no binary cache has is to be built" + elsewise(c) + ": " + getNix
	}
	return []finding{found, examineNamespaces(ctx)}
}

// kept lists those that are there.
func kept(c config.Config) string {
	var names []string
	for _, p := range (keep.Folder{Dir: keptNix(c)}).Kept() {
		names = append(names, p.Name())
	}
	if len(names) == 0 {
		return "none was needed so far"
	}
	return "kept in " + keptNix(c) + ": " + strings.Join(names, ", ")
}

// keptNix is the folder of those that nixpkgs have named.
func keptNix(c config.Config) string { return filepath.Join(c.Cache, "nix") }

func onPath(installed evaluator.Nix, missing error) string {
	var none *evaluator.MissingError
	if errors.As(missing, &none) {
		return "there is none on PATH"
	}
	if missing != nil {
		return missing.Error()
	}
	return "on PATH is " + installed.Version
}

// elsewise is what else the one on PATH is for.
func elsewise(c config.Config) string {
	if c.Nix == string(evaluator.Tree) {
		return ""
	}
	return " or an older nixpkgs names no Nix"
}

// examineEvaluation tries how a Nix evaluates.
func examineEvaluation(ctx context.Context, nix evaluator.Nix) finding {
	var mode evaluator.Mode
	dir, err := os.MkdirTemp("", "factory-doctor-*")
	if err == nil {
		defer os.RemoveAll(dir)
		mode, err = nix.Mode(ctx, dir)
	}
	return advised(judge("evaluation", mode.String(), err, getNix), mode.Namespaces)
}

// examineNamespaces tries whether there are namespaces for the Nix of a nixpkgs.
func examineNamespaces(ctx context.Context) finding {
	mode := evaluator.Mode{Namespaces: true}
	if err := programs.TryNamespaces(ctx); err != nil {
		mode = evaluator.Mode{Why: err.Error()}
	}
	return advised(finding{Check: "evaluation", OK: true, Detail: fmt.Sprint(mode)}, mode.Namespaces)
}

// advised says what it means where there are no namespaces.
func advised(found finding, namespaces bool) finding {
	if found.OK && !namespaces {
		found.Advice = "nothing has to be done: what is to be refused is refused. Namespaces would be a second wall, see the operator's guide"
	}
	return found
}
