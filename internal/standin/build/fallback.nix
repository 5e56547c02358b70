# Which Nix a tree is to name: trees is a list of { name, path }; the result is
# name -> system -> store path.
{ trees, systems }:
let
  path =
    tree: system:
    let
      pkgs = import (/. + tree.path) {
        inherit system;
        config = { };
        overlays = [ ];
      };
    in
    builtins.unsafeDiscardStringContext "${pkgs.nixRelease}";
  each = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
in
builtins.listToAttrs (map (tree: { inherit (tree) name; value = each systems (path tree); }) trees)
