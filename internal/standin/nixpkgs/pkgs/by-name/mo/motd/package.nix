# A package that no binary cache has: whoever wants it builds it,
# which needs nothing but tools of the store.
{ runCommand, stdenv }:
runCommand "motd-1.0"
  {
    pname = "motd";
    version = "1.0";
    meta = {
      description = "A greeting that is built on the spot";
      hydraPlatforms = [ ];
    };
  }
  ''
    mkdir -p $out/bin $out/etc
    echo "built where it is wanted" > $out/etc/motd
    printf '%s\n' '#!${stdenv.shell}' "read -r line < $out/etc/motd" 'echo "$line"' > $out/bin/motd
    chmod +x $out/bin/motd
  ''
