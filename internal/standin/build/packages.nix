# What to build, and where it goes: trees is a list of { name, path }.
{ trees, systems }:
let
  each = builtins.concatMap (
    tree:
    map (system: {
      inherit (tree) name;
      inherit system;
      packages = import (/. + "${tree.path}/release.nix") { inherit system; };
    }) systems
  ) trees;
  outputs = p: map (o: p.${o}) p.outputs;
in
{
  # every output once
  all = builtins.attrValues (
    builtins.listToAttrs (
      builtins.concatMap (
        e:
        builtins.concatMap (p: map (o: { name = builtins.unsafeDiscardStringContext o.outPath; value = o; }) (outputs p)) (
          builtins.attrValues e.packages
        )
      ) each
    )
  );

  # name -> system -> attribute -> store paths, the default output first
  paths = builtins.foldl' (
    acc: e:
    acc
    // {
      ${e.name} = (acc.${e.name} or { }) // {
        ${e.system} = builtins.mapAttrs (_: p: map (o: builtins.unsafeDiscardStringContext "${o}") (outputs p)) e.packages;
      };
    }
  ) { } each;
}
