# An environment for an image of its own: see the Dockerfile beside this file.
# <nixpkgs> is the nixpkgs of the base image; pin it with fetchTarball instead
# (factory inspect shows the expression's sha256) to build the same elsewhere.
let
  pkgs = import <nixpkgs> { };
in
{
  myEnv = pkgs.buildEnv {
    name = "my-env";
    paths = [ pkgs.hello ];
  };
}
