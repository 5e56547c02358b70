# Makers of docker archives, called as those of nixpkgs are.
{ final, lib, system }:
let
  tools = lib.makeBinPath [ final.coreutils final.findutils final.gnutar final.gzip final.gnused ];
  native = { x86_64-linux = "amd64"; aarch64-linux = "arm64"; }.${system};

  # the store paths that these and a configuration refer to, one a line
  closureOf = paths: configuration:
    let
      file = final.writeText "configuration" configuration;
    in
    final.runCommand "closure" {
      exportReferencesGraph = lib.concatLists (lib.imap0 (n: path: [ "graph-${toString n}" path ]) (paths ++ [ file ]));
    } ''
      sed -n '/^\/nix\/store\/[^/]*$/p' graph-* | grep -v '\.drv$' | grep -vxF ${file} | sort -u > $out
    '';

  # a layer of links to all that is in these, and of what commands add
  customisationLayer = { name, contents, extraCommands }: final.runCommand "${name}-customisation-layer" { } ''
    mkdir root $out
    cp -r ${final.buildEnv { name = "${name}-root"; paths = contents; ignoreCollisions = true; }}/. root/
    chmod -R u+w root
    (cd root; ${extraCommands}
    :)
    tar --create --file $out/layer.tar -C root --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner .
    sha256sum < $out/layer.tar | cut -d ' ' -f 1 > $out/checksum
  '';

in
rec {
  # An executable that writes the archive.
  streamLayeredImage =
    {
      name,
      tag ? "latest",
      contents ? [ ],
      config ? { },
      architecture ? native,
      created ? "1970-01-01T00:00:01Z",
      extraCommands ? "",
      maxLayers ? 100,
    }:
    let
      configuration = builtins.toJSON config;
      roots = lib.flatten [ contents ];
      closure = closureOf roots configuration;
    in
    final.runCommand "stream-${name}" {
      script = ''
        #!${final.bashInteractive}/bin/bash
        PATH=${tools}
        repo_tag=${name}:${tag} architecture=${architecture} created=${created} max_layers=${toString maxLayers}
        config=${lib.escapeShellArg configuration}
        customisation=${customisationLayer { inherit name extraCommands; contents = roots; }}
        closure=${closure}
        ${lib.readFile ./stream-image.sh}'';
      passAsFile = [ "script" ];
    } ''
      cp $scriptPath $out
      chmod 0555 $out
    '';

  buildLayeredImage = args: final.runCommand "${args.name}.tar.gz" { } ''
    ${streamLayeredImage args} | gzip -n > $out
  '';

  # One layer, as older versions of Docker wrote it.
  buildImage =
    {
      name,
      tag ? "latest",
      copyToRoot ? [ ],
      contents ? copyToRoot,
      config ? { },
      architecture ? native,
      created ? "1970-01-01T00:00:01Z",
      extraCommands ? "",
    }:
    let
      roots = lib.flatten [ contents ];
    in
    final.runCommand "docker-image-${name}.tar.gz" {
      inherit architecture created;
      repo = name;
      repo_tag = tag;
      config = builtins.toJSON config;
      customisation = customisationLayer { inherit name extraCommands; contents = roots; };
      closure = closureOf roots (builtins.toJSON config);
    } (lib.readFile ./build-image.sh);
}
