# The server of the Attic binary cache, as a container runs it.
{ nixpkgs, system, ... }:
let
  pkgs = import nixpkgs {
    inherit system;
    config = { };
    overlays = [ ];
  };
  server = pkgs.attic-server or (throw "image.nix: this nixpkgs has no attic-server, which came with 24.05");
  certificates = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
in
{
  nixpkgs = false;
  inherit (server) version;
  tools = [
    server
    pkgs.cacert
  ];

  links = {
    "/bin/atticd" = "${server}/bin/atticd";
    "/bin/atticadm" = "${server}/bin/atticadm";
    "/etc/ssl/certs/ca-bundle.crt" = certificates;
    "/etc/ssl/certs/ca-certificates.crt" = certificates;
  };

  env = {
    PATH = "/bin";
    HOME = "/data";
    SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    # Both programs look for attic/server.toml in there.
    XDG_CONFIG_HOME = "/";
    # Where it finds no configuration, atticd would go on with one of its own making, whose
    # secret is gone with the container. It begins with a folder in here, which nobody can make.
    XDG_DATA_HOME = "/dev/null";
  };
  directories."/attic" = "0755";

  entrypoint = [ "/bin/atticd" ];
  # with the migrations of the database, and the garbage collector
  cmd = [
    "--mode"
    "monolithic"
  ];
  user = "1000:1000";
  workdir = "/data";
  volumes = [ "/data" ];
  ports = [ "8080/tcp" ];

  labels = {
    "org.opencontainers.image.description" = "The server of the Attic binary cache";
    "org.opencontainers.image.url" = "https://github.com/zhaofengli/attic";
    "org.opencontainers.image.licenses" = "Apache-2.0";
  };
}
