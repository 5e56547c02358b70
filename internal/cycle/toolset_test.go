package cycle_test

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
)

// A tool that an old nixpkgs lacks is left out, and the image says so.
func TestOptionalToolMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.setHead(release, "old")
	results := w.expect(release + ": build (new commit)")
	contains(t, "log", w.log.text(), "attic-client")
	inventory := w.inventory(release, results[0].Rev.String())
	if diff := cmp.Diff([]string{"attic-client"}, inventory.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if slices.ContainsFunc(inventory.Tools, func(t image.InventoryTool) bool { return t.Attr == "attic-client" }) {
		t.Error("a tool that is missing is in the inventory")
	}
	w.setHead(release, "shared")
	results = w.expect(release + ": build (new commit)")
	if missing := w.inventory(release, results[0].Rev.String()).Missing; len(missing) > 0 {
		t.Errorf("with all tools there, missing is %v", missing)
	}
}

// inventory reads an image's own list, from the topmost layer of its first system.
func (w *world) inventory(channel, tag string) (list image.Inventory) {
	w.t.Helper()
	stack, err := w.image(channel, tag).Layers()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(member(w.t, stack[len(stack)-1], image.InventoryPath[1:]), &list); err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) image(channel, tag string) v1.Image {
	w.t.Helper()
	repo, err := w.repository(w.config.Publish[0], "nixpkgs-"+channel)
	if err != nil {
		w.t.Fatal(err)
	}
	index, err := repo.Index(w.t.Context(), tag)
	if err != nil {
		w.t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		w.t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		w.t.Fatal(err)
	}
	return img
}

// member reads a file in a layer.
func member(t testing.TB, layer v1.Layer, name string) []byte {
	t.Helper()
	rc, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	archive := tar.NewReader(rc)
	for {
		h, err := archive.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name != name {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

func TestRequiredToolMissing(t *testing.T) {
	t.Parallel()
	folder := copyImage(t)
	replace(t, filepath.Join(folder, "image.nix"), `(optional "attic-client")`, `(required "attic-client")`)
	w := newWorld(t, settings{image: folder})
	w.setHead(release, "old")
	w.failsAlone(t, "attic-client", "required", foreign)
}

// What image.nix says is data from outside, too.
func TestBadImageFolder(t *testing.T) {
	t.Parallel()
	folder := copyImage(t)
	w := newWorld(t, settings{image: folder, channels: onlyRelease})
	file := filepath.Join(folder, "image.nix")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"syntax error", "{ nixpkgs, ... ", []string{"image.nix", "syntax error"}},
		{"no tools", `{ ... }: { tools = [ ]; missing = [ ]; env = { }; files = { }; links = { }; directories = { }; cmd = [ ]; workdir = "/"; }`, []string{"image.nix", "no tools"}},
		{"unknown field", `{ ... }: { tols = [ ]; }`, []string{"image.nix", "tols"}},
		{"builds while it is evaluated", strings.Replace(string(good), "builtins.seq loader", `builtins.seq (import (pkgs.runCommand "x" { } "echo 1 > $out"))`, 1), []string{foreign}},
		{"reads the user's environment", strings.Replace(string(good), "builtins.seq loader", `builtins.seq (if builtins.getEnv "NIX_PATH" == "" && builtins.getEnv "GITHUB_TOKEN" == "" then throw "it is empty" else 1)`, 1), []string{"it is empty"}},
		{"throws", strings.Replace(string(good), "builtins.seq loader", `builtins.seq (throw "says the test")`, 1), []string{"says the test", foreign}},
		{"directory mode", strings.Replace(string(good), `"/tmp" = "1777"`, `"/tmp" = "rwx"`, 1), []string{"/tmp", "rwx"}},
		{"two things in one place", strings.Replace(string(good), `"/var/empty" = "0555"`, `"/etc/passwd" = "0555"`, 1), []string{"/etc/passwd"}},
		{"a file outside", strings.Replace(string(good), `"/etc/os-release" =`, `"/etc/../../evil" =`, 1), []string{"evil"}},
		{"a link to what is not in the image", strings.Replace(string(good), `"/etc/ssl/cert.pem" = certificates;`, `"/x" = "/nix/store/00000000000000000000000000000000-x";`, 1), []string{"00000000000000000000000000000000-x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.text == string(good) {
				t.Fatal("image.nix is not changed: the test does not fit it")
			}
			if err := os.WriteFile(file, []byte(tc.text), 0o644); err != nil {
				t.Fatal(err)
			}
			results := w.expect(release + ": failed")
			contains(t, "error", results[0].Error, tc.want...)
			w.tidy()
		})
	}
	if err := os.WriteFile(file, good, 0o644); err != nil {
		t.Fatal(err)
	}
	w.expect(release + ": build (new commit)")
}
