# What the binary cache holds: every package that is not marked to be left out.
{ system, nixpkgs ? ./. }:
let
  pkgs = import nixpkgs {
    inherit system;
    config = { };
    overlays = [ ];
  };
in
pkgs.lib.filterAttrs (
  _: p: pkgs.lib.isDerivation p && (p.meta.hydraPlatforms or [ system ]) != [ ]
) pkgs.packages
