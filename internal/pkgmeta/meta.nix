# What a nixpkgs says of store paths: name, version, licences, homepage and sources of the
# packages that they are outputs of. Evaluated, never built.
#
# Packages are found in three ways: the tools by their attributes, what they are built with by
# the arguments of their derivations, and what only a text of theirs names by its own name.
# A path is told of only if a package found says that it is its output.
{
  nixpkgs, # folder of the unpacked tree
  system, # as in "x86_64-linux"
}:
let
  pkgs = import nixpkgs {
    inherit system;
    config = { };
    overlays = [ ];
  };
  asked = builtins.fromJSON (builtins.readFile ./asked.json);

  # Whatever a package throws, it is one that nothing is known of.
  attempt =
    otherwise: value:
    let
      result = builtins.tryEval (builtins.deepSeq value value);
    in
    if result.success then result.value else otherwise;
  lazily =
    otherwise: value:
    let
      result = builtins.tryEval value;
    in
    if result.success then result.value else otherwise;

  plain = builtins.unsafeDiscardStringContext;
  text = value: if builtins.isString value then plain value else "";
  list = value: if builtins.isList value then value else [ value ];
  isPackage = value: lazily false (builtins.isAttrs value && (value.type or "") == "derivation");

  # The packages in an argument of a derivation.
  within =
    value:
    lazily [ ] (
      if builtins.isList value then
        builtins.concatLists (map within value)
      else if isPackage value then
        [ value ]
      else
        [ ]
    );

  # A package by what tells it from others. One that cannot be evaluated is none.
  node =
    package:
    let
      key = attempt "" (plain package.drvPath);
    in
    if key == "" then [ ] else [ { inherit key package; } ];
  nodes = packages: builtins.concatLists (map node packages);
  inputs =
    package:
    let
      arguments = lazily { } (package.drvAttrs or { });
    in
    builtins.concatLists (map (name: within arguments.${name}) (builtins.attrNames arguments));

  found = builtins.genericClosure {
    startSet = nodes (named asked.attrs ++ named asked.names);
    operator = { package, ... }: nodes (inputs package);
  };
  named =
    names:
    builtins.concatLists (
      map (
        name:
        let
          package = lazily null (pkgs.${name} or null);
        in
        if isPackage package then [ package ] else [ ]
      ) names
    );

  wanted = builtins.listToAttrs (
    map (path: {
      name = path;
      value = true;
    }) asked.paths
  );

  licence = value: {
    spdx = text (value.spdxId or "");
    name = if builtins.isString value then plain value else text (value.shortName or "");
    full = text (value.fullName or "");
    url = text (value.url or "");
  };
  source =
    value:
    let
      urls = builtins.filter builtins.isString (list (value.urls or (value.url or [ ])));
    in
    if urls == [ ] then
      [ ]
    else
      [
        {
          url = plain (builtins.head urls);
          hash = hash value;
          tree = (value.outputHashMode or "flat") != "flat";
        }
      ];
  hash =
    value:
    let
      sum = text (value.outputHash or "");
      algorithm = text (value.outputHashAlgo or "");
    in
    if algorithm == "" || builtins.match "[a-z0-9]+[-:].*" sum != null then sum else "${algorithm}:${sum}";

  meta = package: package.meta or { };
  describe = package: {
    name = attempt "" (text (package.pname or (builtins.parseDrvName package.name).name));
    version = attempt "" (text (package.version or (builtins.parseDrvName package.name).version));
    homepage = attempt "" (
      let
        all = list ((meta package).homepage or [ ]);
      in
      if all == [ ] then "" else text (builtins.head all)
    );
    licences = attempt [ ] (map licence (list ((meta package).license or [ ])));
    sources = attempt [ ] (builtins.concatLists (map source (list (package.srcs or (package.src or [ ])))));
  };

  # The outputs of a package that somebody asks for.
  told =
    { package, ... }:
    let
      outputs = attempt [ "out" ] (package.outputs or [ "out" ]);
      path = output: attempt "" (plain (package.${output}.outPath or (if output == "out" then package.outPath else "")));
      paths = builtins.filter (p: wanted ? ${p}) (map path outputs);
      said = describe package;
    in
    map (name: {
      inherit name;
      value = said;
    }) paths;
in
builtins.listToAttrs (builtins.concatLists (map told found))
