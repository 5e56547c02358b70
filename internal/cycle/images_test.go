package cycle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// baseAndSlim is the list of images of a configuration.
func baseAndSlim(t testing.TB) string {
	return fmt.Sprintf("\n- { folder: %q }\n- { folder: %q, suffix: -slim }", absolute(t, imageFolder), absolute(t, slimFolder))
}

// archives counts downloads of a source. Each is two requests: one is sent elsewhere.
func archives(asked map[string][]standin.Request) int { return len(asked["archive"]) / 2 }

// Several images of a channel: what they share is fetched, made and sent once.
func TestImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{images: baseAndSlim(t), channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.mark()
	results := w.expect(release+" base: build (new commit)", release+" slim: build (new commit)")
	rev := w.upstream.Head(release)
	for tag, want := range map[string]string{
		rev: results[0].Published[0].Digest.String(), "latest": results[0].Published[0].Digest.String(),
		"latest-slim": results[1].Published[0].Digest.String(), rev + "-slim": "",
	} {
		if got := w.tag(0, release, tag); got != want {
			t.Errorf("the tag %s is %q, want %q", tag, got, want)
		}
	}
	asked := w.asked()
	if n := archives(asked); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
	seen := make(map[string]bool)
	for _, r := range asked["nar"] {
		if seen[r.Path] {
			t.Errorf("%s was downloaded twice", r.Path)
		}
		seen[r.Path] = true
	}
	// Of slim alone: the root file system and the configuration.
	if s := results[1].Stats; s.ReusedLayers != s.Layers-1 {
		t.Errorf("slim: %d of %d layers found, want all but one", s.ReusedLayers, s.Layers)
	}
	if sent := w.wire.count("PUT", "/blobs/uploads/"); sent != results[0].Stats.Layers+1+2 {
		t.Errorf("%d blobs sent, want the %d layers of base, a layer of slim, and two configurations", sent, results[0].Stats.Layers)
	}
	w.tidy()

	t.Log("nothing to do")
	w.mark()
	w.expect(release+" base: none (up to date)", release+" slim: none (up to date)")
	w.polledOnly(1)
	// One for the tag of the commit, one each for latest and latest-slim.
	if got := w.wire.manifests(); len(got) != 3 || w.wire.count("HEAD", "/manifests/") != 3 {
		t.Errorf("the registry was asked %q, want 3 HEAD", got)
	}
}

// In another repository of the registry layers are mounted that the first image has.
func TestImagesInTwoRepositories(t *testing.T) {
	t.Parallel()
	images := strings.Replace(baseAndSlim(t), "suffix: -slim", "repository: tools", 1)
	w := newWorld(t, settings{images: images, channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	results := w.expect(release+" base: build (new commit)", release+" slim: build (new commit)")
	if p := results[1].Published; len(p) != 1 || p[0].Image != w.config.Publish[0].To+"/tools:latest" {
		t.Errorf("slim is published as %v", p)
	}
	if sent := w.wire.count("PUT", "/org/tools/blobs/uploads/"); sent != 2 {
		t.Errorf("%d blobs of slim were sent, want its own layer and its configuration", sent)
	}
	if s := results[1].Stats; s.ReusedLayers != s.Layers-1 {
		t.Errorf("slim: %d of %d layers found, want all but one", s.ReusedLayers, s.Layers)
	}
	w.expect(release+" base: none (up to date)", release+" slim: none (up to date)")
}

// Where no registry has them, layers are shared all the same: those of parts have
// no tag, and nothing is found by them.
func TestPartsShareLayers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{images: baseAndSlim(t), channels: onlyRelease})
	f := w.open()
	defer f.Store.Close()
	w.mark()
	parts, err := f.BuildParts(t.Context(), release, "", w.system(foreign))
	if err != nil || len(parts) != 2 || parts[0].Err != nil || parts[1].Err != nil {
		t.Fatalf("parts %+v, %v", parts, err)
	}
	asked := w.asked()
	seen := make(map[string]bool)
	for _, r := range asked["nar"] {
		if seen[r.Path] {
			t.Errorf("%s was downloaded twice", r.Path)
		}
		seen[r.Path] = true
	}
	if n := archives(asked); n != 1 || len(seen) == 0 {
		t.Errorf("%d archives, %d NARs", n, len(seen))
	}
	whole := newWorld(t, settings{images: baseAndSlim(t), channels: onlyRelease})
	want := whole.expect(release+" base: build (new commit)", release+" slim: build (new commit)")
	for i, part := range parts {
		if result := f.Join(t.Context(), []cycle.Part{part}); result.Err != nil || result.ImageName != want[i].ImageName || result.Published[0].Digest != want[i].Published[0].Digest {
			t.Errorf("joined: %+v, want %+v", result, want[i].Published)
		}
	}
	if result := f.Join(t.Context(), []cycle.Part{{Channel: release, ImageName: "slim", Rev: parts[0].Rev, System: parts[0].System, Recipe: parts[0].Recipe, Digest: parts[0].Digest}}); result.Err != nil {
		t.Errorf("what is up to date is not joined: %v", result.Err)
	}
}

// A channel that moves leaves an image alone that has no nixpkgs in it, and whose
// tools are the same: it is evaluated, and nothing else.
func TestMoveLeavesPlainImageAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{images: baseAndSlim(t), channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.setHead(release, "shared")
	f := w.open()
	jobs, err := f.Plan(t.Context(), cycle.Options{})
	f.Store.Close()
	if err != nil || len(jobs) != 2 || strings.Join(jobs[0].Tags, " ") != w.upstream.Head(release)+" latest" || strings.Join(jobs[1].Tags, " ") != "latest-slim" || !strings.HasSuffix(jobs[1].Images[0], ":latest-slim") {
		t.Errorf("before there is any image, planned is %+v, %v", jobs, err)
	}
	first := w.expect(release+" base: build (new commit)", release+" slim: build (new commit)")
	digest := first[1].Published[0].Digest
	rev := w.setHead(release, "release-doc")

	f = w.open()
	jobs, err = f.Plan(t.Context(), cycle.Options{})
	f.Store.Close()
	if err != nil || len(jobs) != 2 || jobs[1].Action != plan.Build || strings.Join(jobs[1].Tags, " ") != "latest-slim" || !strings.HasSuffix(jobs[1].Images[0], ":latest-slim") {
		t.Errorf("planned %+v, %v", jobs, err)
	}

	w.mark()
	second := w.expect(release+" base: build (new commit)", release+" slim: none (unchanged)")
	if p := second[1].Published; len(p) != 1 || p[0].Digest != digest || w.tag(0, release, "latest-slim") != digest.String() {
		t.Errorf("slim is %v, want the digest %s", p, digest)
	}
	f = w.open()
	p, err := f.Store.Publication(record.Subject{Channel: release, ImageName: "slim"}, second[1].Published[0].Image)
	f.Store.Close()
	if err != nil || p == nil || !p.Plain || p.Rev.String() != rev || p.Digest != digest {
		t.Errorf("on record is %+v, %v", p, err)
	}
}

// Parts of it, joined, are the image that is there: nothing is sent, and that is said.
func TestJoinOfUnchangedPlainImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{image: absolute(t, slimFolder), channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.setHead(release, "shared")
	digest := w.expect(release + ": build (new commit)")[0].Published[0].Digest
	rev := w.setHead(release, "release-doc")
	f := w.open()
	defer f.Store.Close()
	var parts []cycle.Part
	for _, system := range f.Config.Systems {
		built, err := f.BuildParts(t.Context(), release, "", system)
		if err != nil || built[0].Err != nil {
			t.Fatalf("%s: %+v, %v", system, built, err)
		}
		parts = append(parts, built...)
	}
	w.mark()
	result := f.Join(t.Context(), parts)
	if result.Err != nil || result.Action != plan.None || result.Reason != plan.Unchanged || len(result.Published) != 1 || result.Published[0].Digest != digest {
		t.Errorf("joined: %+v, want %s, unchanged", result, digest)
	}
	if n := w.wire.count("PUT", "") + w.wire.count("POST", "") + w.wire.count("PATCH", ""); n > 0 {
		t.Errorf("%d times something was sent", n)
	}
	p, err := f.Store.Publication(record.Subject{Channel: release, ImageName: "slim"}, result.Published[0].Image)
	if err != nil || p == nil || !p.Plain || p.Rev.String() != rev {
		t.Errorf("on record is %+v, %v", p, err)
	}
}

// Alone, it costs an evaluation and these requests.
func TestRequestsForPlainImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{image: absolute(t, slimFolder), channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.setHead(release, "shared")
	w.expect(release + ": build (new commit)")
	w.setHead(release, "release-doc")
	for _, step := range []struct {
		name     string
		begin    func()
		registry int
	}{
		// The tag, and what the image says.
		{"a move", func() {}, 2},
		// The tag of the commit, the one that stays, and the manifests of the index
		// and of its image, each again to see whether all is there.
		{"a state that is lost", w.loseState, 5},
	} {
		step.begin()
		w.mark()
		w.expect(release + ": none (unchanged)")
		asked := w.asked()
		if n := archives(asked); n != 1 || len(asked["nar"])+len(asked["narinfo"]) > 0 {
			t.Errorf("%s: %d archives, %d NARs, %d narinfos", step.name, n, len(asked["nar"]), len(asked["narinfo"]))
		}
		if n := w.wire.count("PUT", "") + w.wire.count("PATCH", ""); n > 0 {
			t.Errorf("%s: %d times something was sent", step.name, n)
		}
		if got := w.wire.manifests(); len(got) != step.registry {
			t.Errorf("%s: the registry was asked %q, want %d", step.name, got, step.registry)
		}
		w.mark()
		w.now = w.now.Add(-12 * time.Hour) // what is below the image is asked for once in a day
		w.expect(release + ": none (up to date)")
		w.polledOnly(1)
		if got := w.wire.manifests(); len(got) != 1 {
			t.Errorf("after %s: the registry was asked %q, want the tag only", step.name, got)
		}
	}
}

// One image that fails stops no other, and its failure is its own.
func TestImageThatFails(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.Mkdir(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(broken, "image.nix"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("{ ... }: throw \"not yet\"")
	images := fmt.Sprintf("\n- { folder: %q, suffix: -broken }\n- { folder: %q }", broken, absolute(t, imageFolder))
	w := newWorld(t, settings{images: images, channels: onlyRelease})
	w.mark()
	results := w.expect(release+" broken: failed", release+" base: build (new commit)")
	contains(t, "error", results[0].Error, "not yet")
	if n := archives(w.asked()); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
	f := w.open()
	failures, err := f.Store.Failures()
	f.Store.Close()
	if err != nil || len(failures) != 1 || failures[0].ImageName != "broken" || failures[0].Count != 1 {
		t.Errorf("on record are the failures %+v, %v", failures, err)
	}
	w.expect(release+" broken: failed", release+" base: none (up to date)")

	write("{ nixpkgs, system, ... }: { nixpkgs = false; tools = [ (import nixpkgs { inherit system; }).hello ]; }")
	w.expect(release+" broken: build (new commit)", release+" base: none (up to date)")
	f = w.open()
	defer f.Store.Close()
	if failures, err := f.Store.Failures(); err != nil || len(failures) > 0 {
		t.Errorf("on record are the failures %+v, %v", failures, err)
	}
}

// Asked for by hand, images are made that are named, or all of the channel.
func TestRebuildImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{images: baseAndSlim(t), channels: onlyRelease})
	first := w.expect(release+" base: build (new commit)", release+" slim: build (new commit)")
	old := w.fixture.Commit("shared").Rev
	for _, tt := range []struct {
		rev    string
		images []string
		want   []string
	}{
		{"", []string{"slim"}, []string{release + " slim: rebuild (requested)"}},
		{"", nil, []string{release + " base: rebuild (requested)", release + " slim: rebuild (requested)"}},
		{old, []string{"slim"}, []string{release + " slim: failed"}},
		{old, []string{"base"}, []string{release + " base: build (requested)"}},
	} {
		f := w.open()
		results, err := f.Rebuild(t.Context(), release, tt.rev, tt.images...)
		f.Store.Close()
		if err != nil || strings.Join(w.outcome(results), ", ") != strings.Join(tt.want, ", ") {
			t.Errorf("rebuild %q %v: %v, %v, want %v\n%s", tt.rev, tt.images, w.outcome(results), err, tt.want, w.log.text())
		}
	}
	for i, tag := range []string{"latest", "latest-slim"} {
		if got := w.tag(0, release, tag); got != first[i].Published[0].Digest.String() {
			t.Errorf("%s is %s, want %s", tag, got, first[i].Published[0].Digest)
		}
	}
	f := w.open()
	defer f.Store.Close()
	if _, err := f.Rebuild(t.Context(), release, "", "slam"); err == nil || !strings.Contains(err.Error(), `image "slam" is not made of channel nixos-26.05 (it has [base slim])`) {
		t.Errorf("an image that is not there: %v", err)
	}
}

// Without a tag that stays the same nobody would find an image that has no commit's.
func TestPlainImageWithoutTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{image: absolute(t, slimFolder), channels: "[ { name: nixos-26.05, tags: [ \"{date}\" ] } ]"})
	contains(t, "error", w.expect(release + ": failed")[0].Error, "a tag that is no template")
}

// The commits that a channel has passed have no image without nixpkgs.
func TestPlainImageIsNotFilledIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{images: baseAndSlim(t), channels: "[ { name: nixos-26.05, tags: [ latest ], backfill: 2 } ]"})
	w.setHead(release, "release-leaf")
	first := w.cycle()
	w.mark()
	for _, r := range first {
		if r.Err != nil {
			t.Errorf("%s %s: %v", r.ImageName, r.Rev, r.Err)
		}
	}
	w.expect(release+" base: none (up to date)", release+" slim: none (up to date)")
	if n := len(w.asked()["archive"]); n > 0 {
		t.Errorf("%d archives were fetched again", n)
	}
}
