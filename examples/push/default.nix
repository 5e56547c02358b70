# An image of tools, as gitlab-ci.yml builds it: factory push --file default.nix
{ pkgs ? import <nixpkgs> { } }:
pkgs.dockerTools.buildLayeredImage {
  name = "tools";
  tag = "latest";
  contents = with pkgs; [
    bash
    coreutils
    jq
    git
    cacert
    curl
  ];
  extraCommands = ''
    mkdir -p usr/bin tmp
    ln -sf ${pkgs.coreutils}/bin/env usr/bin/env
    chmod 1777 tmp
  '';
  config = {
    Cmd = [ "/bin/bash" ];
    WorkingDir = "/";
    Env = [ "SSL_CERT_FILE=${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt" ];
  };
}
