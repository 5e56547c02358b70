# Cachix itself is in no Debian. This program has its name and says what it is.
{ mkPackage }:
mkPackage {
  pname = "cachix";
  version = "1.7.5";
  install = ''
    mkdir -p $out/bin
    script $out/bin/cachix \
      'case ''${1-} in' \
      '  -V | --version) echo "cachix 1.7.5 (a stand-in of the miniature nixpkgs)" ;;' \
      '  -h | --help) echo "cachix: a stand-in that can neither push nor pull" ;;' \
      '  *) echo "cachix: this is a stand-in, it can neither push nor pull" >&2; exit 1 ;;' \
      'esac'
  '';
}
