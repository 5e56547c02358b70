# What an image holds: the tools of one nixpkgs for one system, the environment,
# and those files and links that depend on either. Evaluated, never built.
{
  nixpkgs, # folder of the unpacked tree
  system, # as in "x86_64-linux"
  source, # store path of that tree under the name nixpkgs-src
  sourceAlias ? source, # its store path under the name source, if there is one
  narHash ? "", # of the tree, as in "sha256-…"
  lastModified ? "", # time of the commit in Unix seconds
  rev,
  channel,
  only ? "", # tools to look at, a list in JSON; all of them if there is none
  without ? "[]", # optional tools to leave out, a list in JSON: this nixpkgs cannot evaluate them
}:
let
  pkgs = import nixpkgs {
    inherit system;
    config = { };
    overlays = [ ];
  };
  inherit (pkgs) lib;

  # In order of precedence: of two tools with the same file the first one's is linked.
  # Without the required ones there is no base image: no Nix, no shell for RUN, no
  # certificates to substitute with, no cp and find for export-profile, and no tar and gzip
  # for the checkout and cache steps of CI runners. All others may be absent.
  wanted = [
    (required "nix")
    (required "bashInteractive")
    (required "coreutils")
    (required "findutils")
    (required "cacert")
    (required "gnutar")
    (required "gzip")
    (optional "cachix")
    (optional "attic-client")
    (optional "gitMinimal")
    (optional "openssh")
    (optional "curl")
    (optional "xz")
    (optional "zstd")
    (optional "gnused")
    (optional "gnugrep")
    (optional "jq")
    (optional "less")
    (optional "tmate")
    (optional "nix-ld")
  ];
  required = attr: { inherit attr; required = true; };
  optional = attr: { inherit attr; required = false; };

  # A package may be there and refuse to be evaluated: marked as insecure or broken, not made
  # for this system, or only a name that says where the package went.
  works =
    attr:
    let
      result = builtins.tryEval (pkgs.${attr}.outPath or null);
    in
    result.success && result.value != null;

  find =
    { attr, required }:
    let
      package = pkgs.${attr} or null;
    in
    if works attr then
      [ (describe attr (lib.getBin package)) ]
    else if !required then
      [ ]
    else if package == null then
      throw "image.nix: this nixpkgs lacks the required tool ${attr}"
    else
      builtins.trace "image.nix: this nixpkgs refuses the required tool ${attr}:" [ (describe attr package) ];

  describe = attr: package: {
    inherit attr;
    inherit (package) drvPath;
    name = package.pname or (builtins.parseDrvName package.name).name;
    version = version package;
    path = package.outPath;
    output = package.outputName or "out";
  };

  version = package: package.version or (builtins.parseDrvName package.name).version;

  looked = lib.filter (
    tool:
    !(builtins.elem tool.attr (builtins.fromJSON without))
    && (only == "" || builtins.elem tool.attr (builtins.fromJSON only))
  ) wanted;
  tools = lib.concatMap find looked;
  missing = lib.filter (attr: !(has attr)) (map (t: t.attr) wanted);
  byAttr = builtins.listToAttrs (map (tool: { name = tool.attr; value = tool.path; }) tools);
  has = attr: byAttr ? ${attr};

  # Where the tools are linked. Some runtimes mount something over /run, so it is a link to this.
  own = "/nix/profile";

  # The user's profiles come first. HOME may belong to somebody else in a CI job, so they are
  # named by their absolute paths. The last three are where people COPY programs to.
  profiles = [
    "/root/.nix-profile"
    "/nix/var/nix/profiles/default"
    own
  ];
  path = lib.concatMapStringsSep ":" (profile: "${profile}/bin") profiles + ":/usr/local/bin:/usr/bin:/bin";

  certificates = "${byAttr.cacert}/etc/ssl/certs/ca-bundle.crt";

  # Where programs that were not made for Nix look for their loader.
  loaders = {
    x86_64-linux = "/lib64/ld-linux-x86-64.so.2";
    aarch64-linux = "/lib/ld-linux-aarch64.so.1";
  };
  loader = loaders.${system} or (throw "image.nix: there are no images for the system ${system}");
  ownLoader = "${lib.getLib pkgs.stdenv.cc.libc}/lib/${baseNameOf loader}";

  # A script that starts a program of a tool for whoever calls it.
  started = attr: ''
    #!/bin/bash
    program=${byAttr.${attr}}/bin/''${0##*/}
    . /nix/var/nix/factory/any-user.sh
    exec -a "$0" "$program" "$@"
  '';
  nixCommands = [
    "build"
    "channel"
    "collect-garbage"
    "copy-closure"
    "daemon"
    "env"
    "hash"
    "instantiate"
    "prefetch-url"
    "shell"
    "store"
  ];

  variables = {
    NIX_PATH = "nixpkgs=${source}";
    NIX_SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    # for programs with other ideas of where certificates are
    SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    # nix-shell would otherwise build a bash of its own
    NIX_BUILD_SHELL = "${own}/bin/bash";
    PAGER = "${own}/bin/${if has "less" then "less" else "cat"}";
    MANPATH = lib.concatMapStringsSep ":" (profile: "${profile}/share/man") profiles;
  }
  # nix-ld takes these from the environment. LD_LIBRARY_PATH would reach every program,
  # those of other glibc versions too.
  // lib.optionalAttrs (has "nix-ld") {
    NIX_LD = ownLoader;
    NIX_LD_LIBRARY_PATH = lib.makeLibraryPath [
      pkgs.stdenv.cc.cc
      pkgs.zlib
    ];
  };

  # What a bare "nixpkgs" is to flakes: this commit, found in the store without a request, and
  # by a name that is good elsewhere too, for a lock file keeps it. No one entry does that in
  # all versions of Nix. Up to 2.19 they look in the store for whatever has all attributes of a
  # lock. Since 2.26 they do that for an input that says it is final, as Nix itself does in lock
  # files; to a version that does not know the attribute the whole registry would be void.
  # Between them a path is all that is found in the store, and lock files get that path.
  # "nixpkgs/nixos-unstable" asks for another tree: hence exact.
  commit = github "NixOS" "nixpkgs" // { inherit rev; } // known;
  final = commit // {
    __final = true;
  };
  # Nix takes a store path for a flake as it is only when its name is "source"; a tree of
  # another name is copied into the store first.
  folder = {
    type = "path";
    path = sourceAlias;
    inherit rev;
  }
  // known;
  known =
    lib.optionalAttrs (lastModified != "") { lastModified = builtins.fromJSON lastModified; }
    // lib.optionalAttrs (narHash != "" && sourceAlias != source) { inherit narHash; };
  exactly = to: flake "nixpkgs" to // { exact = true; };
  isKnown = known ? narHash && known ? lastModified;
  nixIs = builtins.compareVersions (version pkgs.nix);
  finalWorks = isKnown && nixIs "2.26" >= 0;

  # The registry of this machine. From 2.34 on it counts on command lines only, not in lock
  # files, so that there a path does, and no attribute of Nix's own is needed.
  pinned = exactly (
    if isKnown && nixIs "2.20" < 0 then
      commit
    else if finalWorks && nixIs "2.34" < 0 then
      final
    else
      folder
  );

  # The global registry. Nix reads it before it looks at the entry above, even for a name that
  # is pinned there, and downloads it for that; without a network it gives up. So the image has
  # one of its own, with the names that flakes commonly leave to the registry. Newer versions
  # ask it alone for the inputs of a flake.
  wellKnown = lib.optional finalWorks (exactly final) ++ [
    (flake "nixpkgs" (github "NixOS" "nixpkgs" // { ref = channel; }))
    (flake "disko" (github "nix-community" "disko"))
    (flake "fenix" (github "nix-community" "fenix"))
    (flake "flake-parts" (github "hercules-ci" "flake-parts"))
    (flake "flake-utils" (github "numtide" "flake-utils"))
    (flake "home-manager" (github "nix-community" "home-manager"))
    (flake "nix" (github "NixOS" "nix"))
    (flake "nix-darwin" (github "nix-darwin" "nix-darwin"))
    (flake "nixos-hardware" (github "NixOS" "nixos-hardware"))
    (flake "nur" (github "nix-community" "NUR"))
    (flake "patchelf" (github "NixOS" "patchelf"))
    (flake "sops-nix" (github "Mic92" "sops-nix"))
    (flake "systems" (github "nix-systems" "default"))
    (flake "templates" (github "NixOS" "templates"))
  ];
  flake = id: to: {
    from = {
      type = "indirect";
      inherit id;
    };
    inherit to;
  };
  github = owner: repo: {
    type = "github";
    inherit owner repo;
  };
  registry =
    flakes:
    builtins.toJSON {
      version = 2;
      inherit flakes;
    };

  # Trees of 2018 have the version in a file only.
  release =
    lib.trivial.release or (
      if lib ? version then
        builtins.substring 0 5 lib.version
      else if builtins.pathExists "${nixpkgs}/.version" then
        builtins.substring 0 5 (builtins.readFile "${nixpkgs}/.version")
      else
        ""
    );
in
builtins.seq loader {
  inherit tools missing wanted;

  # HOME and USER are not set here: a value of the image's would be the wrong one for every user
  # but root. Runtimes take HOME from /etc/passwd for the user they start; the programs that
  # want a USER are started with one.
  env = variables // {
    PATH = path;
  };

  files = {
    "${own}/bin/nix" = started "nix";
    "/etc/nix/registry.json" = registry [ pinned ];
    "/etc/nix/flake-registry.json" = registry wellKnown;
    "/etc/os-release" = ''
      NAME="Nixpkgs"
      ID=nixpkgs
      ID_LIKE=nixos
      ${lib.optionalString (release != "") "VERSION_ID=\"${release}\"\n"}PRETTY_NAME="Nixpkgs ${lib.optionalString (release != "") "${release} "}(${channel})"
      VARIANT_ID=${channel}
      BUILD_ID=${rev}
      HOME_URL="https://github.com/nixpkgs-factory/factory"
    '';
    # Login shells may start without the environment of the image.
    "/etc/profile.d/nix.sh" = lib.concatMapStrings (name: ''
      export ${name}="''${${name}-${variables.${name}}}"
    '') (builtins.attrNames variables);
  }
  // lib.optionalAttrs (has "cachix") { "${own}/bin/cachix" = started "cachix"; };

  links = {
    # straight into the store: some runtimes mount something over /run
    "/bin/sh" = "${byAttr.bashInteractive}/bin/sh";
    "/usr/bin/env" = "${byAttr.coreutils}/bin/env";
    # CI services start these, and scripts name their shell so
    "/bin/bash" = "${byAttr.bashInteractive}/bin/bash";
    "/bin/cat" = "${byAttr.coreutils}/bin/cat";
    "/bin/echo" = "${byAttr.coreutils}/bin/echo";
    "/usr/bin/mkfifo" = "${byAttr.coreutils}/bin/mkfifo";
    # relative, for builders that look into an image from outside of it
    "/run/profile" = "..${own}";
    ${loader} = if has "nix-ld" then "${byAttr.nix-ld}/libexec/nix-ld" else ownLoader;

    "/etc/ssl/certs/ca-bundle.crt" = certificates;
    "/etc/ssl/certs/ca-certificates.crt" = certificates;
    "/etc/ssl/cert.pem" = certificates;
    "/etc/pki/tls/certs/ca-bundle.crt" = certificates;

    # Every version of Nix uses the profile this leads to. It does not exist until something
    # is installed, so the default profile starts empty.
    "/root/.nix-profile" = "/nix/var/nix/profiles/default";
    # nix-env -iA nixpkgs.hello. What Nix makes for a user who has no expressions yet leads to
    # root's channels. They are a link, which nix-channel can replace; root keeps its own.
    "/root/.nix-defexpr/nixpkgs" = source;
    "/nix/var/nix/profiles/per-user/root/channels" = "/nix/var/nix/factory/channels";
    "/nix/var/nix/factory/channels/nixpkgs" = source;
    # Nix makes this link only together with the folder, which is there already
    "/nix/var/nix/gcroots/profiles" = "/nix/var/nix/profiles";
  }
  // builtins.listToAttrs (
    map (name: {
      name = "${own}/bin/nix-${name}";
      value = "nix";
    }) nixCommands
  );

  directories = {
    "/dev" = "0755";
    "/home" = "0755";
    # Nix wants to make these whenever it opens the store, and not every user can
    "/nix/store/.links" = "0755";
    "/nix/var/log/nix/drvs" = "0755";
    "/nix/var/nix/gcroots/per-user" = "0755";
    "/nix/var/nix/profiles/per-user" = "0755";
    "/nix/var/nix/temproots" = "0755";
    "/proc" = "0555";
    "/root" = "0755"; # where a container starts, also one of another user
    "/sys" = "0555";
    "/tmp" = "1777";
    "/usr/local/bin" = "0755";
    "/var/empty" = "0555";
    "/var/tmp" = "1777";
  };

  modes = {
    "/etc/shadow" = "0640"; # a checkout keeps only the executable bit
    "${own}/bin/nix" = "0755";
  }
  // lib.optionalAttrs (has "cachix") { "${own}/bin/cachix" = "0755"; };

  cmd = [ "${own}/bin/bash" ];
  workdir = "/root";
}
