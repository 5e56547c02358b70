package cycle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

const (
	slimFolder  = "../../images/slim"
	atticFolder = "../../images/attic-server"
)

// An image without nixpkgs is the same for every commit, and in every channel, that
// gives it the same tools: there is nothing to send.
func TestWithoutNixpkgsNoCommit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ folder, first, second, other string }{
		// another source, another version of nixpkgs
		"slim": {slimFolder, "shared", "release-doc", "next"},
		// and other packages than those in the image
		"attic-server": {atticFolder, "shared", "release-deep", "next-deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{image: absolute(t, tt.folder), channels: bothLatest, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
			w.setHead(release, tt.first)
			w.setHead(unstable, "shared")
			first := w.expect(release+": build (new commit)", unstable+": build (new commit)")
			digest := first[0].Published[0].Digest
			if other := first[1].Published[0].Digest; other != digest {
				t.Errorf("%s has %s, %s has %s", release, digest, unstable, other)
			}
			if name == "slim" {
				// tmate is another one there
				w.setHead(unstable, tt.other)
				if moved := w.expect(release+": none (up to date)", unstable+": build (new commit)")[1]; moved.Published[0].Digest == digest {
					t.Error("other tools, and the same image")
				}
			}
			rev := w.setHead(release, tt.second)
			w.mark()
			second := w.cycle()[0]
			if second.Err != nil || second.Reason != plan.Unchanged || second.Published[0].Digest != digest || w.tag(0, release, rev) != "" || w.tag(0, release, "latest") != digest.String() {
				t.Errorf("after a move: %+v, want the digest %s", second, digest)
			}
			if n := w.wire.count("PUT", "/blobs/uploads/") + w.wire.count("PATCH", "/blobs/uploads/"); n > 0 {
				t.Errorf("%d blobs were sent", n)
			}
			if n := len(w.asked()["nar"]); n > 0 {
				t.Errorf("%d NARs were downloaded", n)
			}
			w.saysNothingOf(release, rev)
			w.tidy()

			w.loseState()
			w.expect(release+": none (unchanged)", unstable+": none (unchanged)")
			w.expect(release+": none (up to date)", unstable+": none (up to date)")
		})
	}
}

// saysNothingOf looks for a commit in what an image says of itself.
func (w *world) saysNothingOf(channel, rev string) {
	w.t.Helper()
	img := w.image(channel, "latest")
	for name, read := range map[string]func() ([]byte, error){"manifest": img.RawManifest, "configuration": img.RawConfigFile} {
		text, err := read()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, word := range []string{rev[:7], channel, "revision", "26.05", "2026-"} {
			if strings.Contains(string(text), word) {
				w.t.Errorf("the %s says %q:\n%s", name, word, text)
			}
		}
	}
	if list := w.inventory(channel, "latest"); !list.Rev.IsZero() || list.Channel != "" || len(list.Sources) > 0 || list.Recipe == "" {
		w.t.Errorf("the inventory: %+v", list)
	}
}

func absolute(t testing.TB, folder string) string {
	t.Helper()
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// A nixpkgs without the program fails, and says so.
func TestWithoutAtticServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{image: absolute(t, atticFolder), channels: onlyRelease})
	w.setHead(release, "old")
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "attic-server", "24.05")
}

// A change in the folder that an image builds on makes it anew.
func TestRecipeOfTheFolderBelow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, from := range map[string]string{"base": imageFolder, "slim": slimFolder} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, settings{image: filepath.Join(dir, "slim"), channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")
	appendTo(t, filepath.Join(dir, "base/rootfs/etc/profile"), "# another line\n")
	second := w.expect(release + ": rebuild (recipe changed)")
	if first[0].Published[0].Digest == second[0].Published[0].Digest {
		t.Error("the image is the same")
	}
}

// What a folder says by packages alone is built, too, where no cache has it.
func TestBuildsAPackage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := `{ nixpkgs, system, ... }: let pkgs = import nixpkgs { inherit system; }; in { nixpkgs = false; tools = [ pkgs.hello pkgs.motd ]; cmd = [ "motd" ]; }`
	if err := os.WriteFile(filepath.Join(folder, "image.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, settings{image: folder, systems: "x86_64-linux", channels: onlyRelease})
	p := w.command(privateNix(t, w.dir), "run", "--once")
	p.Env = append(p.Env, "NIX_CONFIG=build-users-group =\nsandbox = false\nfsync-metadata = false", "NIX_REMOTE=")
	p.succeeds(t)
	tools := w.inventory(release, "latest").Tools
	if len(tools) != 2 || tools[1].Name != "motd" || tools[1].Version != "1.0" {
		t.Fatalf("tools: %+v", tools)
	}
	stack, err := w.image(release, "latest").Layers()
	if err != nil {
		t.Fatal(err)
	}
	if got := fileIn(t, stack, "nix/store/"+tools[1].Path.Base()+"/etc/motd"); string(got) != "built where it is wanted\n" {
		t.Errorf("etc/motd of what was built is %q", got)
	}
	labels, err := w.image(release, "latest").ConfigFile()
	if err != nil || labels.Config.Labels[image.RevisionLabel] != "" {
		t.Errorf("labels %v, %v", labels.Config.Labels, err)
	}
}

// An image that was made in parts, by one job for each system, is the same one.
func TestWithoutNixpkgsInParts(t *testing.T) {
	t.Parallel()
	whole := newWorld(t, settings{image: absolute(t, slimFolder), systems: bothSystems, channels: onlyRelease})
	want := whole.expect(release + ": build (new commit)")[0].Published[0].Digest
	w := newWorld(t, settings{image: absolute(t, slimFolder), systems: bothSystems, channels: onlyRelease})
	w.setHead(release, "shared") // the same tools
	f := w.open()
	defer f.Store.Close()
	var parts []cycle.Part
	for _, system := range f.Config.Systems {
		built, err := f.BuildParts(t.Context(), release, "", system)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, built...)
	}
	result := f.Join(t.Context(), parts)
	if result.Err != nil || len(result.Published) != 1 || result.Published[0].Digest != want {
		t.Errorf("in parts: %+v, want the digest %s", result, want)
	}
}

// Whether nixpkgs is in an image cannot depend on the system.
func TestNixpkgsInOneSystemOnly(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := `{ nixpkgs, system, ... }: { nixpkgs = system == "x86_64-linux"; tools = [ (import nixpkgs { inherit system; }).hello ]; }`
	if err := os.WriteFile(filepath.Join(folder, "image.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, settings{image: folder, systems: bothSystems, channels: onlyRelease})
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, foreign, "nixpkgs is in the image of one of")
	w.tidy()
}

// The version that image.nix says is the one of tags, and so is the image's digest.
func TestTagOfTheVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{image: absolute(t, atticFolder), channels: `[ { name: nixos-26.05, tags: [ latest, "{version}", "{digest:12}" ] } ]`})
	digest := w.expect(release + ": build (new commit)")[0].Published[0].Digest
	if got := w.tag(0, release, "0.1.0"); got != digest.String() {
		t.Errorf("the tag 0.1.0 is %q, want %s", got, digest)
	}
	if got := w.tag(0, release, digest.Hex[:12]); got != digest.String() {
		t.Errorf("the tag %s is %q, want %s", digest.Hex[:12], got, digest)
	}
	w.loseState()
	w.untag(release, "0.1.0")
	w.expect(release + ": none (unchanged)")
	if got := w.tag(0, release, "0.1.0"); got != digest.String() {
		t.Errorf("put back, the tag 0.1.0 is %q, want %s", got, digest)
	}
}
