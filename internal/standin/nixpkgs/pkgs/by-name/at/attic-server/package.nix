# Attic itself is in no Debian. These programs take the options, the configuration and the
# variables of its server, and hold no cache.
{ mkPackage, lib, perl }:
mkPackage {
  pname = "attic-server";
  version = "0.1.0";
  meta.mainProgram = "atticd";
  install = ''
    mkdir -p $out/bin
    for name in atticd atticadm; do
      {
        echo '#!${perl}/bin/perl'
        cat <<'END_OF_CONFIG'
    ${lib.readFile ./config.pl}
    END_OF_CONFIG
        case $name in
        atticd) cat <<'END_OF_ATTICD' ;;
    ${lib.readFile ./atticd.pl}
    END_OF_ATTICD
        atticadm) cat <<'END_OF_ATTICADM' ;;
    ${lib.readFile ./atticadm.pl}
    END_OF_ATTICADM
        esac
      } > $out/bin/$name
    done
    chmod 0555 $out/bin/*
  '';
}
