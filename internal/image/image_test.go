package image

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

func storePath(t *testing.T, name string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(strings.Repeat("0", 32) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func imageFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "image.nix"), "{ }", 0o644)
	write(t, filepath.Join(dir, "rootfs/etc/passwd"), "root", 0o644)
	write(t, filepath.Join(dir, "rootfs/etc/run.sh"), "#!", 0o755)
	write(t, filepath.Join(dir, "bin/export-profile"), "#!", 0o644)
	if err := os.Symlink("passwd", filepath.Join(dir, "rootfs/etc/users")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRootFiles(t *testing.T) {
	bash, coreutils, src := storePath(t, "bash-5"), storePath(t, "coreutils-9"), storePath(t, "nixpkgs-src")
	db := filepath.Join(t.TempDir(), "db.sqlite")
	write(t, db, "db", 0o600)
	files, err := Root{
		Image: imageFolder(t),
		Set: toolset.Toolset{
			Files:       map[string]string{"/etc/os-release": "NAME=x"},
			Links:       map[string]string{"/bin/sh": bash.String() + "/bin/sh"},
			Directories: map[string]string{"/tmp": "1777"},
			Modes:       map[string]string{"/etc/passwd": "0640"},
			Volumes:     []string{"/data", "/tmp"},
			User:        "1000:100",
		},
		Inventory: Inventory{Tools: []InventoryTool{
			{Path: bash, Files: []string{"bin/bash", "bin/env", "bin/export-profile", "share/man"}},
			{Path: coreutils, Files: []string{"bin/env", "share/man/env.1"}},
		}},
		Roots:    []nix.StorePath{bash, src},
		Database: db,
	}.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range files {
		text := f.Target
		if f.Dir || f.Target == "" {
			text = os.FileMode(f.Mode).String()
		}
		if f.Path != InventoryPath {
			got[f.Path] = text
		}
	}
	at := func(p nix.StorePath, name string) string { return p.String() + "/" + name }
	want := map[string]string{
		"/etc/passwd":     "-rw-r-----",
		"/etc/run.sh":     "-rwxr-xr-x",
		"/etc/users":      "passwd",
		"/etc/os-release": "-rw-r--r--",
		"/bin/sh":         at(bash, "bin/sh"),
		"/tmp":            os.FileMode(0o1777).String(),
		// what it needs all the same
		"/etc/group": "-rw-r--r--",
		"/root":      "-rwx------",
		"/data":      "-rwxr-xr-x",
		// The image's own script wins over a tool's, the first tool over the second,
		// and nothing is put below a link.
		"/nix/profile/bin/export-profile":             "-rwxr-xr-x",
		"/nix/profile/bin/bash":                       at(bash, "bin/bash"),
		"/nix/profile/bin/env":                        at(bash, "bin/env"),
		"/nix/profile/share/man":                      at(bash, "share/man"),
		"/nix/store":                                  "-rwxr-xr-x",
		"/nix/var/nix/db/db.sqlite":                   "-rw-r--r--",
		"/nix/var/nix/db/schema":                      "-rw-r--r--",
		"/nix/var/nix/gcroots/factory/" + bash.Base(): bash.String(),
		"/nix/var/nix/gcroots/factory/" + src.Base():  src.String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Files() mismatch (-want +got):\n%s", diff)
	}
	if _, err := (layers.Packer{Dir: t.TempDir()}).Files(files, ""); err != nil {
		t.Errorf("the files do not fit together: %v", err)
	}
}

// What decides the recipe and what is installed are the same files, whatever
// their names are.
func TestRootFilesAreThoseOfTheRecipe(t *testing.T) {
	image := imageFolder(t)
	write(t, filepath.Join(image, "README.md"), "of the folder", 0o644)
	write(t, filepath.Join(image, "testdata/x"), "", 0o644)
	db := filepath.Join(t.TempDir(), "db.sqlite")
	write(t, db, "db", 0o600)
	for _, name := range []string{"rootfs/etc/README.md", "rootfs/srv/a_test.go", "rootfs/srv/testdata/b", "bin/help.md"} {
		before, err := recipe.Identify(image, recipe.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(image, name), "x", 0o644)
		after, err := recipe.Identify(image, recipe.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		files, err := Root{Image: image, Database: db}.Files()
		if err != nil {
			t.Fatal(err)
		}
		installed := slices.ContainsFunc(files, func(f layers.File) bool { return f.From == filepath.Join(image, name) })
		if !installed || before == after {
			t.Errorf("%s: installed %t, changes the recipe %t, want both", name, installed, before != after)
		}
	}
}

func TestRootFilesRefusesABadMode(t *testing.T) {
	for _, mode := range []string{"", "rwx", "0999", "177777"} {
		_, err := Root{Image: imageFolder(t), Set: toolset.Toolset{Directories: map[string]string{"/tmp": mode}}}.Files()
		if err == nil || !strings.Contains(err.Error(), "/tmp") {
			t.Errorf("mode %q: Files() = %v, want an error that names /tmp", mode, err)
		}
		_, err = Root{Image: imageFolder(t), Set: toolset.Toolset{Modes: map[string]string{"/etc/passwd": mode}}}.Files()
		if err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
			t.Errorf("mode %q: Files() = %v, want an error that names /etc/passwd", mode, err)
		}
	}
	if _, err := (Root{Image: imageFolder(t), Set: toolset.Toolset{Modes: map[string]string{"/etc/none": "0640"}}}).Files(); err == nil {
		t.Error("the mode of a file that is not there: no error")
	}
}

func facts(t *testing.T) Facts {
	return Facts{Recipe: "sha256:1", Nixpkgs: &Nixpkgs{
		Channel: "nixos-26.05", Rev: gittest.Rev("ab"), Date: time.Date(2026, 5, 31, 12, 0, 0, 0, time.FixedZone("", 7200)),
		Version: "26.05", NarHash: nix.Hash{1}, Repository: "NixOS/nixpkgs",
	}}
}

func TestAssembleAndIndex(t *testing.T) {
	layer, err := layers.Packer{Dir: t.TempDir()}.Files([]layers.File{{Path: "/a", Mode: 0o644}}, "files")
	if err != nil {
		t.Fatal(err)
	}
	system, err := config.ParseSystem("aarch64-linux")
	if err != nil {
		t.Fatal(err)
	}
	nix := storePath(t, "nix-2.31")
	settings := Settings{System: system, Set: toolset.Toolset{
		Env: map[string]string{"PATH": "/bin", "A": "b"}, Cmd: []string{"sh"}, WorkDir: "/root",
		Tools: []toolset.Tool{{Name: "nix", Version: "2.31", Path: nix}},
	}}
	img, err := Assemble(facts(t), settings, []*layers.Layer{layer})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=b", "PATH=/bin"}, conf.Config.Env); diff != "" {
		t.Errorf("Env mismatch (-want +got):\n%s", diff)
	}
	labels := map[string]string{
		"org.opencontainers.image.title":                 "nixpkgs-nixos-26.05",
		"org.opencontainers.image.description":           "Nix, Cachix, Attic and the nixpkgs of nixos-26.05 at abababababab",
		"org.opencontainers.image.source":                "https://github.com/nixpkgs-factory/factory",
		"org.opencontainers.image.url":                   "https://github.com/NixOS/nixpkgs/tree/" + strings.Repeat("ab", 20),
		"org.opencontainers.image.version":               "26.05.20260531.abababababab",
		"org.opencontainers.image.revision":              strings.Repeat("ab", 20),
		"org.opencontainers.image.created":               "2026-05-31T10:00:00Z",
		"org.opencontainers.image.licenses":              "MIT",
		"io.github.nixpkgs-factory.channel":              "nixos-26.05",
		"io.github.nixpkgs-factory.recipe":               "sha256:1",
		"io.github.nixpkgs-factory.system":               "aarch64-linux",
		"io.github.nixpkgs-factory.nixpkgs.sha256":       "0000000000000000000000000000000000000000000000000001",
		"io.github.nixpkgs-factory.nixpkgs.narHash":      "sha256-AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"io.github.nixpkgs-factory.nixpkgs.version":      "26.05",
		"io.github.nixpkgs-factory.nixpkgs.lastModified": "1780221600",
		"io.github.nixpkgs-factory.tools":                `[{"name":"nix","version":"2.31","path":"` + nix.String() + `"}]`,
	}
	if diff := cmp.Diff(labels, conf.Config.Labels); diff != "" {
		t.Errorf("labels mismatch (-want +got):\n%s", diff)
	}
	index, err := Index([]Part{{system, img}})
	if err != nil {
		t.Fatal(err)
	}
	// Images that are published keep their digests: this may change only together
	// with the format of recipes, or with the compressor.
	const pinned = "sha256:7361420429e591d9d74f122f5ade81fa059e4bb059c38f829979f19db3e1ff32"
	if digest, err := index.Digest(); digest.String() != pinned || err != nil {
		t.Errorf("the index has the digest %s, %v, want %s", digest, err, pinned)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if WithoutNixpkgs(manifest) {
		t.Error("the index is said to have no nixpkgs")
	}
	for _, desc := range manifest.Manifests {
		if desc.ArtifactType != "" {
			t.Errorf("the descriptor has the artifact type %q, with which skopeo cannot keep the digest", desc.ArtifactType)
		}
	}
	if p := manifest.Manifests[0].Platform; p.OS != "linux" || p.Architecture != "arm64" {
		t.Errorf("platform %v, want linux/arm64", p)
	}
	if manifest.Annotations[RecipeLabel] != "sha256:1" || manifest.Annotations[SystemLabel] != "" {
		t.Errorf("annotations of the index: %v", manifest.Annotations)
	}
}

func TestListed(t *testing.T) {
	got := Listed([]string{"share/man/a", "lib/x", "bin/b", "bin", "nix-support/x", "etc/ssl/c", "sbin/d"})
	if diff := cmp.Diff([]string{"bin/b", "etc/ssl/c", "share/man/a"}, got); diff != "" {
		t.Errorf("Listed() mismatch (-want +got):\n%s", diff)
	}
	if data, _ := json.Marshal(Listed(nil)); string(data) != "[]" {
		t.Errorf("Listed(nil) is %s in JSON, want []", data)
	}
}
