package standin

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// images is an image by each maker, of a program with the libraries it needs.
const images = `
{ pkgs }:
let
  app = pkgs.writeShellScriptBin "app" "exec ${pkgs.hello}/bin/hello";
  common = { name = "app"; config = { Cmd = [ "/bin/app" ]; }; };
in
{
  inherit app;
  single = pkgs.dockerTools.buildImage (common // { copyToRoot = [ app ]; });
  layered = pkgs.dockerTools.buildLayeredImage (common // { tag = "1.2"; contents = [ app ]; extraCommands = "mkdir tmp; chmod 1777 tmp"; });
  stream = pkgs.dockerTools.streamLayeredImage (common // { contents = [ app ]; maxLayers = 4; });
  n2c = pkgs.nix2container.buildImage (common // {
    config.Cmd = [ "${app}/bin/app" ];
    copyToRoot = [ app ];
    layers = [ (pkgs.nix2container.buildLayer { deps = [ pkgs.hello ]; }) ];
    perms = [ { path = app; regex = "bin/app$"; mode = "0750"; uid = 1; gid = 2; } ];
  });
}
`

// TestImages: what the makers of images leave is what they are made after, as
// Debian's skopeo reads it, and as nix2container's JSON has it.
func TestImages(t *testing.T) {
	f := testFixture(t)
	dir := t.TempDir()
	prefix, env, err := f.PrivateNix(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { RemovePrivateNix(dir) })
	inside := func(argv ...string) string {
		t.Helper()
		argv = append(slices.Clone(prefix), argv...)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), env...)
		cmd.Dir = dir
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, said.String())
		}
		return strings.TrimSpace(string(out))
	}
	tree := unpack(t, f, f.Commit("next"))
	if err := os.WriteFile(filepath.Join(dir, "images.nix"), []byte(images), 0o644); err != nil {
		t.Fatal(err)
	}
	build := func(attr string) string {
		t.Helper()
		return inside("nix-build", "--no-out-link", "--quiet", "-E", "(import "+dir+"/images.nix { pkgs = import "+tree+" { }; })."+attr)
	}
	// by default, each store path has a layer of its own
	for attr, layers := range map[string]int{"single": 1, "layered": len(strings.Fields(inside("nix-store", "--query", "--requisites", build("app")))) + 1, "stream": 4} {
		write := "zcat"
		built := build(attr)
		if attr == "stream" {
			write = ""
		}
		archive := filepath.Join(dir, attr+".tar")
		inside("sh", "-c", write+" "+built+" > "+archive+" 2> progress")
		var image struct {
			Architecture string
			Layers       []string
		}
		if err := json.Unmarshal([]byte(inside("skopeo", "inspect", "docker-archive:"+archive)), &image); err != nil {
			t.Fatal(err)
		}
		if image.Architecture != "amd64" || len(image.Layers) != layers {
			t.Errorf("%s: %+v, want %d layers for amd64", attr, image, layers)
		}
	}
	members := strings.Fields(inside("tar", "tf", filepath.Join(dir, "stream.tar")))
	if members[len(members)-1] != "manifest.json" {
		t.Errorf("members %v, want manifest.json last", members)
	}

	var image struct {
		Version int
		Layers  []struct {
			Digest string
			Paths  []struct{ Path string }
		}
	}
	if err := json.Unmarshal([]byte(inside("cat", build("n2c"))), &image); err != nil {
		t.Fatal(err)
	}
	if image.Version != 1 || len(image.Layers) != 2 || len(image.Layers[0].Paths) == 0 || !strings.HasPrefix(image.Layers[1].Digest, "sha256:") {
		t.Errorf("image %+v", image)
	}
}
