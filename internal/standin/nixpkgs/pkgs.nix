# All packages for one system, as a function of the final package set.
{ system, config, lib }:
final:
let
  manifest = lib.importJSON ./pkgs/manifest.json;
  patchLevels = lib.importJSON ./pkgs/patch-levels.json;

  # Binaries exist for the machine the manifest was made on. For any other
  # system the same packages are made of small files that cannot run.
  foreign = system != manifest.system;
  loaders = {
    x86_64-linux = "ld-linux-x86-64.so.2";
    aarch64-linux = "ld-linux-aarch64.so.1";
  };
  loader = loaders.${system} or (throw "there are no packages for the system ${system}");

  # A package made of files of the machine that *builds* it, by that machine's
  # own tools. Their hashes are part of the derivation,
  # so evaluating it never looks at the machine that evaluates.
  mkPackage =
    {
      pname,
      version,
      outputs ? [ { name = "out"; } ],
      install ? "",
      # only where there are scripts: bash is itself linked against some of these packages
      shell ? lib.optionalString (
        install != "" || lib.any (o: o ? script) outputs
      ) "${final.bashInteractive}/bin/bash",
      glibc ? "${final.glibc}",
      meta ? { },
    }:
    let
      names = map (o: o.name) outputs;
      level = patchLevels.${pname} or 0;
      fullVersion = if level == 0 then version else "${version}.${toString level}";
      nameLoader = lib.replaceStrings [ loaders.${manifest.system} ] [ loader ];
      fileRow = o: kind: f: "${kind}|${o.name}|${f.sha256}|${f.from}|${nameLoader f.to}";
      linkRow = o: l: "link|${o.name}||${nameLoader l.target}|${nameLoader l.to}";
      rows = o:
        lib.concatMap (kind: map (fileRow o kind) (o.${kind} or [ ])) [
          "program"
          "library"
          "loader"
          "script"
          "data"
        ]
        ++ map (linkRow o) (o.links or [ ]);
      # needs are "package.output"; the package's own outputs are only known to its builder
      libraryPath = o: lib.concatMapStringsSep ":" (n: if n.package == pname then "@${n.output}@/lib" else "${packagesByName.${n.package}.${n.output}}/lib") (o.needs or [ ]);
    in
    withMeta { inherit pname meta; version = fullVersion; outputs = names; } (derivation (
      {
        name = "${pname}-${fullVersion}";
        inherit system install shell glibc loader pname;
        outputs = names;
        builder = "/bin/sh";
        args = [ "-c" (lib.readFile ./pkgs/build-package.sh) ];
        PATH = "/usr/bin:/bin:/usr/sbin:/sbin";
        LC_ALL = "C";
        foreign = if foreign then "1" else "";
        patchLevel = toString level;
        rows = lib.concatStringsSep "\n" (lib.concatMap rows outputs);
      }
      // lib.listToAttrs (map (o: lib.nameValuePair "libraryPath_${o.name}" (libraryPath o)) outputs)
    ));

  withMeta =
    { pname, version, outputs ? [ "out" ], meta ? { } }:
    lib.extendDerivation {
      inherit pname version outputs;
      passthru = { };
      meta = {
        description = "${pname} of the miniature nixpkgs";
        outputsToInstall = [ (lib.head outputs) ];
        available = true;
        broken = false;
        unfree = false;
        platforms = lib.platforms.linux;
      } // meta;
    };

  # What Debian's files need beyond being copied.
  adjustments = {
    glibc.glibc = "";

    # Debian compiled /usr/bin and /usr/libexec into Nix.
    nix.install = ''
      mkdir -p $out/libexec/nix
      mv $out/bin/nix $out/libexec/nix/nix
      script $out/bin/nix \
        "export NIX_BIN_DIR=\''${NIX_BIN_DIR-$out/bin} NIX_LIBEXEC_DIR=\''${NIX_LIBEXEC_DIR-$out/libexec}" \
        "exec -a \"\$0\" $out/libexec/nix/nix \"\$@\""
      ln -s nix $out/libexec/nix/build-remote
    '';

    # Debian compiled /usr/lib/git-core into git.
    git-minimal.install = ''
      mkdir -p $out/bin
      for n in git git-upload-pack git-receive-pack git-upload-archive; do
        script $out/bin/$n \
          "export GIT_EXEC_PATH=$out/libexec/git-core GIT_TEMPLATE_DIR=$out/share/git-core/templates" \
          "exec $out/libexec/git-core/$n \"\$@\""
      done
    '';

    # These look for terminals and locales only where Debian has them.
    less.install = withTerminals "less";
    tmate.install = withTerminals "tmate";

    nss-cacert.install = ''
      cat $out/etc/ssl/trust-source/*.crt > $out/etc/ssl/ca-bundle.crt
      rm -r $out/etc/ssl/trust-source
      mkdir $out/etc/ssl/certs
      mv $out/etc/ssl/ca-bundle.crt $out/etc/ssl/certs/
    '';

    # Debian's loader searches the directories of Debian, not, as nixpkgs' does, its own.
    # So that NIX_LD_LIBRARY_PATH can be what it is with nixpkgs, glibc is linked beside libstdc++.
    gcc.install = ''
      for f in ${final.glibc}/lib/*.so*; do
        ln -s $f $lib/lib/
      done
    '';
  };

  withTerminals = program: ''
    mv $out/bin/${program} $out/bin/.${program}-wrapped
    script $out/bin/${program} \
      "export TERMINFO_DIRS=\''${TERMINFO_DIRS-${final.ncurses}/share/terminfo}" \
      "export LOCPATH=\''${LOCPATH-${final.glibc}/lib/locale}" \
      "exec -a \"\$0\" $out/bin/.${program}-wrapped \"\$@\""
  '';

  fromManifest = lib.mapAttrs (
    _: p: mkPackage ({ inherit (p) pname version outputs; } // (adjustments.${p.pname} or { }))
  ) manifest.packages;

  packagesByName = lib.mapAttrs' (attr: p: lib.nameValuePair p.pname final.${attr}) manifest.packages;

  # pkgs/by-name/<two letters>/<name>/package.nix, found as nixpkgs finds them
  byName = lib.listToAttrs (
    lib.concatMap (
      shard:
      map (name: lib.nameValuePair name (final.callPackage (./pkgs/by-name + "/${shard}/${name}/package.nix") { })) (
        lib.attrNames (builtins.readDir (./pkgs/by-name + "/${shard}"))
      )
    ) (lib.attrNames (builtins.readDir ./pkgs/by-name))
  );

  # Nix as its own project releases it, which nix-fallback-paths.nix names: programs without a
  # script around them. Debian's Nix can evaluate without one.
  released.nixRelease = mkPackage { inherit (manifest.packages.nix) pname version outputs; };

  packageNames = lib.attrNames fromManifest ++ lib.attrNames byName ++ lib.attrNames released;

  # The tools of the store itself: what is built with them can be built anywhere, in a container too.
  storeTools = lib.makeBinPath [
    final.coreutils
    final.findutils
    final.gnused
    final.gnugrep
    final.gnutar
    final.gzip
    final.diffutils
  ];

  buildInStore = attrs: derivation (
    {
      inherit system;
      builder = "${final.bashInteractive}/bin/bash";
      PATH = storeTools;
      preferLocalBuild = true;
    }
    // attrs
  );
in
fromManifest
// byName
// released
// {
  inherit lib config system mkPackage;
  path = ./.;
  pkgs = final;
  packages = lib.genAttrs packageNames (n: final.${n});

  bash = final.bashInteractive;
  git = final.gitMinimal;
  libgcc = final.gcc-unwrapped;
  callPackage = f: args:
    let
      function = if lib.isFunction f then f else import f;
    in
    function (lib.intersectAttrs (lib.functionArgs function) final // args);

  stdenv = {
    hostPlatform = {
      inherit system;
      isLinux = true;
      isx86_64 = system == "x86_64-linux";
      isAarch64 = system == "aarch64-linux";
    };
    buildPlatform = final.stdenv.hostPlatform;
    targetPlatform = final.stdenv.hostPlatform;
    shell = "${final.bashInteractive}/bin/bash";
    cc = {
      cc = final.gcc-unwrapped;
      libc = final.glibc;
      bintools.dynamicLinker = "${final.glibc}/lib/${loader}";
    };
    mkDerivation = args: final.runCommand (args.name or "${args.pname}-${args.version}") args (args.buildCommand or "mkdir $out");
  };

  runCommand = name: env: script: withMeta {
    pname = env.pname or (lib.getName name);
    version = env.version or (lib.getVersion name);
    outputs = env.outputs or [ "out" ];
    meta = env.meta or { };
  } (buildInStore ({
    inherit name;
    # The builtin at the end keeps bash from replacing itself by the last program of the script:
    # Nix takes a builder for done, and kills it, when its output is closed, as programs do before they exit.
    args = [ "-euc" "${script}\n:" ];
  } // removeAttrs env [ "meta" "passthru" "nativeBuildInputs" "buildCommand" ]));
  runCommandLocal = final.runCommand;

  writeTextFile = { name, text, executable ? false, destination ? "", meta ? { }, ... }:
    final.runCommand name {
      inherit text meta;
      passAsFile = [ "text" ];
    } ''
      file=$out${destination}
      mkdir -p "$(dirname "$file")"
      cp "$textPath" "$file"
      ${lib.optionalString executable ''chmod +x "$file"''}
    '';
  writeText = name: text: final.writeTextFile { inherit name text; };
  writeTextDir = path: text: final.writeTextFile { name = baseNameOf path; inherit text; destination = "/${path}"; };
  writeScript = name: text: final.writeTextFile { inherit name text; executable = true; };
  writeScriptBin = name: text: final.writeTextFile {
    inherit name text;
    executable = true;
    destination = "/bin/${name}";
    meta.mainProgram = name;
  };
  writeShellScript = name: text: final.writeScript name "#!${final.stdenv.shell}\n${text}\n";
  writeShellScriptBin = name: text: final.writeScriptBin name "#!${final.stdenv.shell}\n${text}\n";

  buildEnv = { name, paths, pathsToLink ? [ "/" ], ignoreCollisions ? false, postBuild ? "", extraOutputsToInstall ? [ ], meta ? { }, ... }:
    let
      outputsOf = p:
        if lib.isDerivation p && !(p.outputSpecified or false) then
          map (o: "${p.${o}}") (lib.unique (p.meta.outputsToInstall or [ "out" ] ++ lib.filter (o: p ? ${o}) extraOutputsToInstall))
        else
          [ "${p}" ];
    in
    final.runCommand name {
      inherit pathsToLink postBuild ignoreCollisions meta;
      paths = lib.concatMap outputsOf (lib.flatten paths);
      allowSubstitutes = false;
    } (lib.readFile ./pkgs/build-env.sh);
  dockerTools = import ./pkgs/docker-tools.nix { inherit final lib system; };
  nix2container = import ./pkgs/nix2container.nix { inherit final lib system; };

  symlinkJoin = { name, paths, postBuild ? "", ... }: final.buildEnv { inherit name paths postBuild; ignoreCollisions = true; };
}
