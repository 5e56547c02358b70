package main

import (
	"errors"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

const getNix = "get Nix from https://nixos.org/download, or run the factory's own image, which has it"

// hint says what a user can do about an error, or nothing.
func hint(err error) string {
	var (
		missing *evaluator.MissingError
		old     *toolset.VersionError
	)
	switch {
	case errors.As(err, &missing):
		return "the factory evaluates nixpkgs with Nix 2.18 or newer; " + getNix
	case errors.As(err, &old):
		return getNix
	}
	return ""
}
