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
    version = package.version or (builtins.parseDrvName package.name).version;
    path = package.outPath;
    output = package.outputName or "out";
  };

  tools = lib.concatMap find wanted;
  missing = lib.filter (attr: !(has attr)) (map (t: t.attr) wanted);
  byAttr = builtins.listToAttrs (map (tool: { name = tool.attr; value = tool.path; }) tools);
  has = attr: byAttr ? ${attr};

  # The user's profiles come first. HOME may belong to somebody else in a CI job, so they are
  # named by their absolute paths. The last three are where people COPY programs to.
  profiles = [
    "/root/.nix-profile"
    "/nix/var/nix/profiles/default"
    "/run/profile"
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

  variables = {
    NIX_PATH = "nixpkgs=${source}";
    NIX_SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    # for programs with other ideas of where certificates are
    SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    # nix-shell would otherwise build a bash of its own
    NIX_BUILD_SHELL = "/run/profile/bin/bash";
    PAGER = "/run/profile/bin/${if has "less" then "less" else "cat"}";
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

  # The flake registry's nixpkgs. Nix takes a store path for a flake as it is only when its
  # name is "source"; a tree of another name is copied into the store first. The entry is for
  # a bare "nixpkgs": "nixpkgs/nixos-unstable" asks for another tree.
  pinned =
    flake "nixpkgs" (
      {
        type = "path";
        path = sourceAlias;
        inherit rev;
      }
      // lib.optionalAttrs (lastModified != "") { lastModified = builtins.fromJSON lastModified; }
      // lib.optionalAttrs (narHash != "" && sourceAlias != source) { inherit narHash; }
    )
    // {
      exact = true;
    };

  # The global registry. Nix reads it before it looks at the entry above, even for a name that
  # is pinned there, and downloads it for that; without a network it gives up. So the image has
  # one of its own, with the names that flakes commonly leave to the registry.
  wellKnown = [
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

  release = lib.trivial.release or (builtins.substring 0 5 lib.version);
in
builtins.seq loader {
  inherit tools missing;

  env = variables // {
    PATH = path;
    # Docker leaves it unset, and both cachix and scripts that load a profile want it. HOME is
    # not set here: every runtime takes it from /etc/passwd for the user it starts, and a value
    # of the image's would be the wrong one for every user but root.
    USER = "root";
  };

  files = {
    "/etc/nix/registry.json" = registry [ pinned ];
    "/etc/nix/flake-registry.json" = registry wellKnown;
    "/etc/os-release" = ''
      NAME="Nixpkgs"
      ID=nixpkgs
      ID_LIKE=nixos
      VERSION_ID="${release}"
      PRETTY_NAME="Nixpkgs ${release} (${channel})"
      VARIANT_ID=${channel}
      BUILD_ID=${rev}
      HOME_URL="https://github.com/nixpkgs-factory/factory"
    '';
    # Login shells may start without the environment of the image.
    "/etc/profile.d/nix.sh" = lib.concatMapStrings (name: ''
      export ${name}="''${${name}-${variables.${name}}}"
    '') (builtins.attrNames variables);
  };

  links = {
    # straight into the store: some runtimes mount something over /run
    "/bin/sh" = "${byAttr.bashInteractive}/bin/sh";
    "/usr/bin/env" = "${byAttr.coreutils}/bin/env";
    ${loader} = if has "nix-ld" then "${byAttr.nix-ld}/libexec/nix-ld" else ownLoader;

    "/etc/ssl/certs/ca-bundle.crt" = certificates;
    "/etc/ssl/certs/ca-certificates.crt" = certificates;
    "/etc/ssl/cert.pem" = certificates;
    "/etc/pki/tls/certs/ca-bundle.crt" = certificates;

    # Every version of Nix uses the profile this leads to. It does not exist until something
    # is installed, so the default profile starts empty.
    "/root/.nix-profile" = "/nix/var/nix/profiles/default";
    # nix-env -iA nixpkgs.hello
    "/root/.nix-defexpr/nixpkgs" = source;
    # Nix makes this link only together with the folder, which is there already
    "/nix/var/nix/gcroots/profiles" = "/nix/var/nix/profiles";
  };

  directories = {
    "/dev" = "0755";
    "/home" = "0755";
    "/nix/var/nix/profiles" = "0755";
    "/proc" = "0555";
    "/root" = "0711"; # where a container starts, also one of another user
    "/sys" = "0555";
    "/tmp" = "1777";
    "/usr/local/bin" = "0755";
    "/var/empty" = "0555";
    "/var/tmp" = "1777";
  };

  # of files in rootfs, where a checkout keeps only the executable bit
  modes = {
    "/etc/shadow" = "0640";
  };

  cmd = [ "/run/profile/bin/bash" ];
  workdir = "/root";
}
