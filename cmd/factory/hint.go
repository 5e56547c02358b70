package main

import (
	"errors"
	"syscall"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

const getNix = "get Nix from https://nixos.org/download"

// hint says what a user can do about an error, or nothing.
func hint(err error) string {
	var (
		missing *evaluator.MissingError
		old     *toolset.VersionError
	)
	switch {
	case errors.As(err, &missing):
		return "where a nixpkgs names no Nix, or a tool has to be built, that takes one of this machine's, 2.18 or newer; " + getNix
	case errors.As(err, &old):
		return getNix
	case errors.Is(err, syscall.ENOSPC):
		return "make room, or name another folder for unfinished work: --cache-dir"
	}
	return ""
}
