# The entry of the miniature nixpkgs, called as the real one is:
#   import <nixpkgs> { system = "x86_64-linux"; config = { }; overlays = [ ]; }
let
  requiredVersion = import ./lib/minver.nix;
in
if !(builtins ? nixVersion) || builtins.compareVersions requiredVersion builtins.nixVersion == 1 then
  abort "This nixpkgs needs Nix ${requiredVersion} or newer."
else
  {
    system ? builtins.currentSystem,
    localSystem ? { inherit system; },
    config ? { },
    overlays ? [ ],
    ...
  }:
  let
    lib = import ./lib;
    packages = import ./pkgs.nix {
      inherit config lib;
      system = localSystem.system or system;
    };
  in
  lib.fix (lib.foldl' (self: overlay: lib.extends overlay self) packages overlays)
