# The part of nixpkgs' library that image definitions and small projects use.
let
  lib = rec {
    trivial = {
      release = fileContents ./.version;
      versionSuffix = "pre-git";
      version = trivial.release + trivial.versionSuffix;
    };
    inherit (trivial) version;

    inherit (builtins)
      all
      any
      attrNames
      attrValues
      compareVersions
      concatLists
      concatMap
      concatStringsSep
      elem
      elemAt
      filter
      foldl'
      functionArgs
      genList
      getAttr
      hasAttr
      head
      intersectAttrs
      isAttrs
      isBool
      isFunction
      isInt
      isList
      isString
      length
      listToAttrs
      mapAttrs
      match
      readFile
      removeAttrs
      replaceStrings
      seq
      stringLength
      substring
      tail
      toJSON
      ;

    # functions
    id = x: x;
    const = x: _: x;
    flip = f: a: b: f b a;
    fix = f: let x = f x; in x;
    extends = overlay: f: final: let prev = f final; in prev // overlay final prev;
    composeExtensions = f: g: final: prev:
      let
        a = f final prev;
        b = g final (prev // a);
      in
      a // b;

    # lists
    optional = cond: x: if cond then [ x ] else [ ];
    optionals = cond: xs: if cond then xs else [ ];
    flatten = x: if isList x then concatMap flatten x else [ x ];
    foldr = op: nul: list:
      let
        n = length list;
        go = i: if i == n then nul else op (elemAt list i) (go (i + 1));
      in
      go 0;
    imap0 = f: list: genList (i: f i (elemAt list i)) (length list);
    last = list: elemAt list (length list - 1);
    unique = foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
    subtractLists = drop: filter (x: !(elem x drop));

    # attribute sets
    nameValuePair = name: value: { inherit name value; };
    optionalAttrs = cond: attrs: if cond then attrs else { };
    attrByPath = path: default: set:
      if path == [ ] then
        set
      else if isAttrs set && set ? ${head path} then
        attrByPath (tail path) default set.${head path}
      else
        default;
    hasAttrByPath = path: set:
      path == [ ] || (isAttrs set && set ? ${head path} && hasAttrByPath (tail path) set.${head path});
    getAttrFromPath = path: attrByPath path (abort "there is no attribute ${concatStringsSep "." path}");
    filterAttrs = pred: set:
      listToAttrs (concatMap (n: optional (pred n set.${n}) (nameValuePair n set.${n})) (attrNames set));
    genAttrs = names: f: listToAttrs (map (n: nameValuePair n (f n)) names);
    mapAttrs' = f: set: listToAttrs (map (n: f n set.${n}) (attrNames set));
    mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
    mergeAttrs = a: b: a // b;
    attrVals = names: set: map (n: set.${n}) names;
    catAttrs = builtins.catAttrs;

    # strings
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    concatMapStringsSep = sep: f: list: concatStringsSep sep (map f list);
    concatStrings = concatStringsSep "";
    optionalString = cond: s: if cond then s else "";
    hasPrefix = prefix: s: substring 0 (stringLength prefix) s == prefix;
    hasSuffix = suffix: s:
      let
        n = stringLength s - stringLength suffix;
      in
      n >= 0 && substring n (stringLength s) s == suffix;
    removePrefix = prefix: s:
      if hasPrefix prefix s then substring (stringLength prefix) (stringLength s) s else s;
    removeSuffix = suffix: s:
      if hasSuffix suffix s then substring 0 (stringLength s - stringLength suffix) s else s;
    importJSON = file: builtins.fromJSON (readFile file);
    fileContents = file: removeSuffix "\n" (readFile file);
    splitString = sep: s: filter isString (builtins.split (escapeRegex sep) (toString s));
    escapeRegex = escape [ "\\" "[" "{" "(" ")" "^" "$" "?" "*" "+" "|" "." ];
    escape = chars: replaceStrings chars (map (c: "\\${c}") chars);
    escapeShellArg = s: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString s)}'";
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    versionOlder = a: b: compareVersions b a == 1;
    versionAtLeast = a: b: !(versionOlder a b);
    getName = x: if isString x then (builtins.parseDrvName x).name else x.pname or (builtins.parseDrvName x.name).name;
    getVersion = x: if isString x then (builtins.parseDrvName x).version else x.version or (builtins.parseDrvName x.name).version;

    # derivations and their outputs
    isDerivation = x: x.type or null == "derivation";
    isStorePath = x: isString (toString x) && hasPrefix "${builtins.storeDir}/" (toString x);
    getOutput = output: p: if p.outputSpecified or false then p else p.${output} or p.out or p;
    getBin = getOutput "bin";
    getLib = getOutput "lib";
    getDev = getOutput "dev";
    getMan = getOutput "man";
    getExe = p: getExe' p (p.meta.mainProgram or (getName p));
    getExe' = p: program: "${getBin p}/bin/${program}";
    makeSearchPath = sub: paths: concatMapStringsSep ":" (p: "${p}/${sub}") (filter (p: p != null) paths);
    makeSearchPathOutput = output: sub: paths: makeSearchPath sub (map (getOutput output) paths);
    makeBinPath = makeSearchPathOutput "bin" "bin";
    makeLibraryPath = makeSearchPathOutput "lib" "lib";

    # Adds attributes to a derivation and to each of its outputs.
    extendDerivation = attrs: drv:
      let
        common = drv // named // { all = map (o: named.${o}) outputs; } // attrs;
        outputs = drv.outputs or [ "out" ];
        named = genAttrs outputs (
          o:
          common
          // {
            inherit (drv.${o}) outPath drvPath outputName;
            outputSpecified = true;
          }
        );
      in
      common // { inherit (drv) outPath drvPath outputName; };

    # the names under which nixpkgs groups some of these
    strings = { inherit concatMapStrings concatMapStringsSep concatStringsSep optionalString hasPrefix hasSuffix makeBinPath makeLibraryPath removePrefix removeSuffix splitString; };
    attrsets = { inherit attrByPath filterAttrs genAttrs getBin getLib getOutput mapAttrs' nameValuePair optionalAttrs; };
    lists = { inherit flatten optional optionals unique; };
    versions = { inherit versionOlder versionAtLeast; };
    licenses = { };
    platforms = {
      linux = [ "x86_64-linux" "aarch64-linux" ];
      all = platforms.linux;
    };
    systems.flakeExposed = platforms.linux;
  };
in
lib
