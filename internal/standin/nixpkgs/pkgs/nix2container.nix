# Makers of images as JSON, called as those of nix2container are.
{ final, lib, system }:
let
  native = { x86_64-linux = "amd64"; aarch64-linux = "arm64"; }.${system};

  # JSON of one layer: the store paths that deps refer to, and those of copyToRoot
  # at the root of the image, but for what parents have.
  layerOf = { name, deps, copyToRoot, perms, ignore, parents }:
    let
      roots = deps ++ copyToRoot;
    in
    derivation {
      inherit name system;
      builder = "/bin/sh";
      args = [ "-c" "perl -e \"$maker\" && :" ];
      maker = lib.readFile ./nix2container.pl;
      PATH = "/usr/bin:/bin";
      exportReferencesGraph = lib.concatLists (lib.imap0 (n: path: [ "graph-${toString n}" path ]) roots);
      copyToRoot = map (p: "${p}") copyToRoot;
      # regex, mode, uid, gid, uname, gname of each, as the builder reads them
      permissions = lib.concatMapStrings (p: "${p.path}\t${p.regex}\t${p.mode or ""}\t${toString (p.uid or 0)}\t${toString (p.gid or 0)}\t${p.uname or ""}\t${p.gname or ""}\n") perms;
      ignore = map (p: "${p}") ignore;
      inherit parents;
    };
in
rec {
  buildLayer = { deps ? [ ], copyToRoot ? [ ], perms ? [ ] }:
    layerOf { name = "layer.json"; inherit deps perms; copyToRoot = lib.flatten [ copyToRoot ]; ignore = [ ]; parents = [ ]; };

  buildImage =
    {
      name,
      tag ? null,
      config ? { },
      copyToRoot ? [ ],
      layers ? [ ],
      perms ? [ ],
      arch ? native,
      created ? null,
    }:
    let
      # the configuration's own paths are in the last layer
      configuration = final.writeText "${name}-config.json" (builtins.toJSON config);
      last = layerOf { name = "layer.json"; deps = [ configuration ]; inherit perms; copyToRoot = lib.flatten [ copyToRoot ]; ignore = [ configuration ]; parents = layers; };
    in
    final.runCommand "image-${name}.json" {
      inherit arch;
      layers = layers ++ [ last ];
      created = lib.optionalString (created != null) ''"created":"${created}",'';
    } ''
      {
        printf '{"version":1,"image-config":%s,"arch":"%s",%s"layers":[' "$(cat ${configuration})" "$arch" "$created"
        separator=
        for layer in $layers; do
          printf '%s%s' "$separator" "$(cat $layer)"
          separator=,
        done
        printf ']}'
      } > $out
    '';
}
