# Packages that the tests of export-profile install: small scripts, built with
# the programs of the machine.
let
  package =
    name: script:
    derivation {
      inherit name;
      system = builtins.currentSystem;
      builder = "/bin/sh";
      args = [ "-euc" "mkdir $out; cd $out; ${script}" ];
      PATH = "/usr/bin:/bin";
    };
  program = text: ''printf '%s\n' '#!/bin/sh' ${text} > "$f"; chmod +x "$f"'';
in
rec {
  # a library of hello's, by which the closure is more than the profile
  greeting = package "greeting-1.0" ''
    mkdir lib; echo Hello > lib/greeting
  '';
  hello = package "hello-1.0" ''
    mkdir -p bin share/doc/hello etc/hello nix-support
    f=bin/hello; ${program "'cat ${greeting}/lib/greeting'"}
    echo doc > "share/doc/hello/read me.txt"
    echo loud > etc/hello/volume
    echo ${greeting} > nix-support/propagated-build-inputs
  '';
  # bin/env and bin/sh, one of them a link to a program of another name
  tools = package "tools-1.0" ''
    mkdir bin
    f=bin/multi; ${program "'exec /bin/\${0##*/} \"$@\"'"}
    ln -s multi bin/env; ln -s multi bin/sh
  '';
  # what a walk through folders can stumble over
  odd = package "odd-1.0" ''
    mkdir -p bin include .hidden
    ln -s . include/loop
    ln -s ../include .hidden/up
    ln -s /etc/passwd bin/outside
    ln -s /etc bin/outside-folder
    ln -s ${greeting}/lib lib
    touch "bin/new
    line" 'bin/*'
  '';
  dangling = package "dangling-1.0" ''
    mkdir bin; ln -s nowhere bin/broken
  '';
  # the same file as in hello, with another content
  rival = package "rival-1.0" ''
    mkdir bin; f=bin/hello; ${program "'echo rival'"}
  '';
  big = package "big-1.0" ''
    mkdir share; for n in 1 2 3 4 5 6 7 8; do head -c 40000 /dev/zero > share/$n; done
  '';
  # store paths that are no folders
  file = derivation {
    name = "file-1.0";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "echo text > $out" ];
  };
  link = derivation {
    name = "link-1.0";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "ln -s ${hello} $out" ];
    PATH = "/usr/bin:/bin";
  };
}
