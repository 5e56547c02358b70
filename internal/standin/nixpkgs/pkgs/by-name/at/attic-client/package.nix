# Attic itself is in no Debian. This program has its name and says what it is.
{ mkPackage }:
mkPackage {
  pname = "attic-client";
  version = "0.1.0";
  meta.mainProgram = "attic";
  install = ''
    mkdir -p $out/bin
    script $out/bin/attic \
      'case ''${1-} in' \
      '  -V | --version) echo "attic 0.1.0 (a stand-in of the miniature nixpkgs)" ;;' \
      '  -h | --help) echo "attic: a stand-in that can neither push nor pull" ;;' \
      '  *) echo "attic: this is a stand-in, it can neither push nor pull" >&2; exit 1 ;;' \
      'esac'
  '';
}
