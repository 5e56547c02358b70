# The base image without nixpkgs: the same tools, in a Nix that downloads what it is asked for.
# It is the same for all commits that have the same tools, so base is told of none.
args@{ nixpkgs, system, ... }:
let
  base = import ./base/image.nix (
    args
    // {
      source = "/var/empty";
      sourceAlias = "/var/empty";
      narHash = "";
      lastModified = "";
      rev = "";
      channel = "nixpkgs-unstable"; # what a bare nixpkgs is to flakes, as everywhere
    }
  );
  env = removeAttrs base.env [ "NIX_PATH" ];
  variables = removeAttrs env [ "PATH" ];
in
base
// {
  nixpkgs = false;
  database = true;
  inherit env;

  files = removeAttrs base.files [ "/etc/nix/registry.json" ] // {
    "/etc/os-release" = ''
      NAME="Nixpkgs"
      ID=nixpkgs
      ID_LIKE=nixos
      PRETTY_NAME="Nix tools"
      HOME_URL="https://github.com/nixpkgs-factory/factory"
    '';
    "/etc/profile.d/nix.sh" = builtins.concatStringsSep "" (
      map (name: ''
        export ${name}="''${${name}-${variables.${name}}}"
      '') (builtins.attrNames variables)
    );
  };

  links = removeAttrs base.links [
    "/root/.nix-defexpr/nixpkgs"
    "/nix/var/nix/profiles/per-user/root/channels"
    "/nix/var/nix/factory/channels/nixpkgs"
  ];

  # nix-channel makes what it keeps there
  directories = base.directories // {
    "/nix/var/nix/profiles/per-user/root" = "0755";
  };

  labels = {
    "org.opencontainers.image.title" = "nixpkgs-slim";
    "org.opencontainers.image.description" = "Nix, Cachix and Attic, without nixpkgs";
    "org.opencontainers.image.licenses" = "MIT";
  };
}
