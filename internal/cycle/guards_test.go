package cycle_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/image"
)

// The finished index is held against itself before a tag points to it: an image
// that is not what its labels say is never published, whoever pushed it.
func TestIndexIsCheckedBeforeTheTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	part := w.part(foreign)
	repo, err := w.repository(w.config.Publish[0], "nixpkgs-"+release)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(part.Digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := repo.Image(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	conf = conf.DeepCopy()
	conf.Config.Env = append(conf.Config.Env, "EVIL=/nix/store/"+strings.Repeat("0", 32)+"-evil/bin")
	forged, err := mutate.ConfigFile(img, conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PushImage(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	if digest, err = forged.Digest(); err != nil {
		t.Fatal(err)
	}
	good := part.Digest
	part.Digest = digest.String()
	if result := w.join([]cycle.Part{part}); result.Err == nil || !strings.Contains(result.Error, "check: ") || !strings.Contains(result.Error, "-evil") {
		t.Errorf("a forged image was joined: %+v", result)
	}
	if got := w.tag(0, release, part.Rev.String()); got != "" {
		t.Errorf("the commit's tag is %s, want none", got)
	}
	part.Digest = good
	if result := w.join([]cycle.Part{part}); result.Err != nil {
		t.Errorf("the image as it was made: %v", result.Err)
	}
}

// What a layer says of tools counts only if its bytes are those of its digest.
func TestListingsOfAnotherLayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.expect(release + ": build (new commit)")
	older := w.topmost(release)
	w.setHead(release, "release-leaf")
	w.expect(release + ": build (new commit)")
	// The topmost layer of the head has the bytes of another sound layer.
	blobs := filepath.Join(w.config.Publish[0].Layout, "blobs/sha256")
	data, err := os.ReadFile(filepath.Join(blobs, older.Hex))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(blobs, w.topmost(release).Hex), data, 0o644); err != nil {
		t.Fatal(err)
	}
	w.setHead(release, "release-deep")
	w.expect(release + ": build (new commit)")
	contains(t, "the log", w.log.text(), "earlier image not used", "its bytes have the digest "+older.String())
}

func (w *world) topmost(channel string) v1.Hash {
	w.t.Helper()
	manifest, err := w.image(channel, w.upstream.Head(channel)).Manifest()
	if err != nil {
		w.t.Fatal(err)
	}
	return manifest.Layers[len(manifest.Layers)-1].Digest
}

// What killed builds left behind goes with the next cycle, whatever that has to
// do; what cannot be removed is told, and keeps nothing from being done.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.expect(release + ": build (new commit)")
	locked := filepath.Join(w.config.Cache, "build-1", "nix", "store")
	if err := os.MkdirAll(locked, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{locked, filepath.Dir(locked)} { // as Nix makes them
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(release + ": none (up to date)")
	w.tidy()
	if text := w.log.text(); strings.Contains(text, "not removed") {
		t.Errorf("the log tells of what was removed:\n%s", text)
	}

	if err := os.MkdirAll(filepath.Join(w.config.Cache, "build-2"), 0o755); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(w.config.Cache, ".lock")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lock, 0o755); err != nil { // stands in the way
		t.Fatal(err)
	}
	w.expect(release + ": none (up to date)")
	contains(t, "the log", w.log.text(), "level=WARN", "what killed builds left behind cannot be removed", lock)
}

// A damaged state is set aside, and the cycle goes on from what the registries
// know; reading the state keeps no factory from starting.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.command(nil, "run", "--once").succeeds(t)
	if err := os.WriteFile(w.config.State, []byte("this was a state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.command(nil, "run", "--once", "--output", "json")
	p.succeeds(t)
	contains(t, "stderr", p.stderr.String(), "level=WARN", "cannot be read", "set aside", w.config.State)
	contains(t, "stdout", p.stdout.String(), "up to date")
	aside, err := filepath.Glob(w.config.State + ".aside-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v, want one file", aside, err)
	}
	if data, err := os.ReadFile(aside[0]); err != nil || string(data) != "this was a state\n" {
		t.Errorf("what is set aside holds %q, %v", data, err)
	}
	p = w.command(nil, "status")
	p.succeeds(t)
	contains(t, "status", p.stdout.String(), "up to date")
}

// What has the tag of a commit and the recipe of the factory, but names no
// commit, was made by somebody else: it does not count as the commit's image.
func TestImageThatNamesNoCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")[0]
	repo, index := w.index(release, first.Rev.String())
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	annotations := maps.Clone(manifest.Annotations)
	annotations[image.RevisionLabel] = "the newest"
	forged := mutate.Annotations(index, annotations).(v1.ImageIndex)
	if err := errors.Join(repo.Push(t.Context(), forged), repo.Tag(t.Context(), forged, first.Rev.String()), os.Remove(w.config.State)); err != nil {
		t.Fatal(err)
	}
	if again := w.expect(release + ": rebuild (recipe changed)")[0]; again.Published[0] != first.Published[0] {
		t.Errorf("published %v, want %v again", again.Published, first.Published)
	}
}
