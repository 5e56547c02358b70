package archive_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

const image = `
let
  pkgs = import %s { };
  inherit (pkgs.nix2container) buildImage buildLayer;
  app = pkgs.writeShellScriptBin "app" "exec ${pkgs.hello}/bin/hello";
in
buildImage {
  name = "app";
  config.Cmd = [ "${app}/bin/app" ];
  copyToRoot = [ app ];
  layers = [ (buildLayer { deps = [ pkgs.hello ]; }) (buildLayer { deps = [ pkgs.coreutils pkgs.glibc ]; }) ];
  perms = [
    { path = app; regex = "bin/app$"; mode = "0750"; uid = 1; gid = 2; uname = "daemon"; }
    { path = app; regex = "-app/bin$"; mode = "0711"; }
  ];
}
`

// TestNix2containerOfStorePaths: layers that are made of real store paths have
// the diffIDs that another program has computed of them.
func TestNix2containerOfStorePaths(t *testing.T) {
	fixture, err := standin.Prepare(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { standin.RemovePrivateNix(dir) })
	prefix, env, err := fixture.PrivateNix(dir)
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	if out, err := exec.Command("tar", "xf", fixture.ArchiveFile(fixture.Commit("next").Rev), "-C", tree, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	argv := append(prefix, "nix-build", "--no-out-link", "--quiet", "-E", fmt.Sprintf(image, tree))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, strings.TrimSpace(string(out))))
	if err != nil {
		t.Fatal(err)
	}
	set, err := archive.Nix2container{JSON: data, Root: dir}.Images(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(set.Images[0].Layers); n != 3 {
		t.Errorf("%d layers, want 3", n)
	}
	for _, l := range set.Images[0].Layers {
		rc, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, rc); err != nil {
			t.Fatal(err)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != l.DiffID.Hex {
			t.Errorf("layer of %s: diffID sha256:%s, want %s", l.From, got, l.DiffID)
		}
	}
}
