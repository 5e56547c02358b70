# Images by three makers. Each goes to a registry by the same command:
#
#   factory push .#dojo-image --to git.example.org/toph/dojo:main
{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    nix2container.url = "github:nlewo/nix2container";
    nix2container.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { self, nixpkgs, nix2container }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      n2c = nix2container.packages.${system}.nix2container;
      dojo = self.packages.${system}.default;
    in
    {
      packages.${system} = {
        default = pkgs.writeShellScriptBin "dojo" "exec ${pkgs.hello}/bin/hello";

        # An archive, compressed by Nix: simple, and slow to build again.
        dojo-image = pkgs.dockerTools.buildLayeredImage {
          name = "dojo";
          tag = "latest";
          contents = [ dojo ];
          config.Cmd = [ "${dojo}/bin/dojo" ];
        };

        # A script that writes the archive: no archive in the store.
        dojo-stream = pkgs.dockerTools.streamLayeredImage {
          name = "dojo";
          tag = "latest";
          contents = [ dojo ];
          config.Cmd = [ "${dojo}/bin/dojo" ];
        };

        # JSON with the digest of each layer: only layers that the registry does not have
        # are made at all.
        dojo-n2c = n2c.buildImage {
          name = "dojo";
          config.Cmd = [ "${dojo}/bin/dojo" ];
          layers = [ (n2c.buildLayer { deps = [ pkgs.hello ]; }) ];
        };
      };
    };
}
