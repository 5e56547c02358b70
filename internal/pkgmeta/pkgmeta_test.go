package pkgmeta

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/sbom"
)

// tree is a nixpkgs in which a library is found by an argument, another by its name,
// and of some packages nothing can be said.
const tree = `{ system, config, overlays }:
let
  make = name: more: meta: let
    drv = derivation ({ inherit name system; builder = "/bin/sh"; } // more);
  in drv // { inherit meta; drvAttrs = { inherit name system; builder = "/bin/sh"; } // more; } // builtins.listToAttrs (map (o: { name = o; value = drv.${o} // { inherit meta; }; }) (more.outputs or [ "out" ]));
  gpl = { spdxId = "GPL-3.0-or-later"; shortName = "gpl3Plus"; fullName = "GNU GPL"; url = "https://spdx.org/x"; free = true; };
  lib1 = make "lib1-1.0" { outputs = [ "out" "dev" ]; } { license = "odd"; };
  src = derivation { name = "tool.tar.gz"; inherit system; builder = "builtin:fetchurl"; outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "0000000000000000000000000000000000000000000000000000"; } // { urls = [ "https://example.org/tool.tar.gz" "https://mirror.example.org/tool.tar.gz" ]; outputHash = "0000000000000000000000000000000000000000000000000000"; outputHashAlgo = "sha256"; outputHashMode = "flat"; };
in rec {
  tool = make "tool-2.0" { buildInputs = [ lib1 [ ] ]; text = "${hidden}"; } { license = [ gpl "other" ]; homepage = [ "https://example.org" ]; } // { pname = "tool"; version = "2.0"; inherit src; };
  hidden = make "hidden-3" { } { license = throw "unknown"; homepage = 3; };
  refused = throw "refused package";
  function = x: x;
  other-name = make "elsewhere-1" { } { };
  paths = { tool = tool.outPath; dev = lib1.dev.outPath; hidden = hidden.outPath; elsewhere = other-name.outPath; };
}
`

func find(t *testing.T) evaluator.Nix {
	t.Helper()
	cli, err := evaluator.Find(t.Context())
	if err != nil {
		t.Skipf("%v (Debian package nix-bin)", err)
	}
	return cli
}

func TestAsk(t *testing.T) {
	cli := find(t)
	dir := t.TempDir()
	nixpkgs := filepath.Join(dir, "nixpkgs")
	if err := os.MkdirAll(nixpkgs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(nixpkgs, "default.nix"), []byte(tree), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(nixpkgs, "paths.nix"), []byte(`{ system }: (import ./. { inherit system; config = { }; overlays = [ ]; }).paths`), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := cli.Eval(t.Context(), filepath.Join(dir, "scratch"), evaluator.Expression{
		File: filepath.Join(nixpkgs, "paths.nix"), Args: map[string]string{"system": "x86_64-linux"}, Read: []string{nixpkgs},
	})
	if err != nil {
		t.Fatal(err)
	}
	var paths map[string]nix.StorePath
	if err := json.Unmarshal(out, &paths); err != nil {
		t.Fatal(err)
	}
	q := Question{Nixpkgs: nixpkgs, System: "x86_64-linux", Attrs: []string{"tool", "refused", "function", "absent"}}
	for _, p := range paths {
		q.Paths = append(q.Paths, p)
	}
	got, err := Ask(t.Context(), cli, dir, q)
	if err != nil {
		t.Fatal(err)
	}
	none := []sbom.Source{}
	want := map[nix.StorePath]sbom.Meta{
		paths["tool"]: {Name: "tool", Version: "2.0", Homepage: "https://example.org",
			Licences: []sbom.Licence{{SPDX: "GPL-3.0-or-later", Name: "gpl3Plus", Full: "GNU GPL", URL: "https://spdx.org/x"}, {Name: "other"}},
			Sources:  []sbom.Source{{URL: "https://example.org/tool.tar.gz", Hash: "sha256:0000000000000000000000000000000000000000000000000000"}}},
		paths["dev"]:    {Name: "lib1", Version: "1.0", Licences: []sbom.Licence{{Name: "odd"}}, Sources: none},
		paths["hidden"]: {Name: "hidden", Version: "3", Licences: []sbom.Licence{}, Sources: none},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Ask() (-want +got):\n%s", diff)
	}
}

// A tree that evaluates to nothing is an error, not an image without licences.
func TestAskOfABrokenTree(t *testing.T) {
	cli := find(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "default.nix"), []byte(`{ ... }: abort "broken"`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Ask(t.Context(), cli, t.TempDir(), Question{Nixpkgs: dir, System: "x86_64-linux", Attrs: []string{"tool"}}); err == nil {
		t.Errorf("Ask() = %v, and the tree is broken", got)
	}
}
