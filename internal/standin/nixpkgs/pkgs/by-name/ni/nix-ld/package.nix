# The loader for programs that were not made for Nix. Debian has none.
# This one starts $NIX_LD by execve instead of mapping it, so /proc/self/exe is that loader.
{ mkPackage, lib }:
mkPackage {
  pname = "nix-ld";
  version = "2.0.4";
  install = ''
    mkdir -p $out/libexec $out/nix-support
    if [ -n "$foreign" ]; then
      foreign_elf $out/libexec/nix-ld library "nix-ld, a stand-in that does not run"
    else
      printf %s '${lib.readFile ./loader.hex}' | sed 's/#.*//' | tr -d ' \n' | tr a-f A-F | basenc --decode --base16 > $out/libexec/nix-ld
    fi
    chmod 0555 $out/libexec/nix-ld
    echo "/lib64/$loader" > $out/nix-support/ldpath
  '';
}
