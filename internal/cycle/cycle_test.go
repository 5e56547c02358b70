package cycle_test

import (
	"os"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What a channel goes through, in the order in which it happens, against a real
// registry: published, polled, moved on, and published again.
func TestCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	first := w.expect(release+": build (new commit)", unstable+": build (new commit)")
	for i, channel := range []string{release, unstable} {
		rev := w.upstream.Head(channel)
		want := w.config.Publish[0].To + "/nixpkgs-" + channel + ":" + rev
		if p := first[i].Published; first[i].Rev.String() != rev || len(p) != 1 || p[0].Image != want || p[0].Digest.String() != w.tag(0, channel, rev) {
			t.Errorf("%s: published %v of %s, want %s with the digest %s", channel, p, first[i].Rev.String(), want, w.tag(0, channel, rev))
		}
	}
	if latest := w.tag(0, release, "latest"); latest != first[0].Published[0].Digest.String() {
		t.Errorf("latest is %s, want %s", latest, first[0].Published[0].Digest.String())
	}
	w.tidy()

	t.Log("nothing to do")
	w.mark()
	again := w.expect(release+": none (up to date)", unstable+": none (up to date)")
	w.polledOnly(2)
	if got, want := again[0].Published, first[0].Published; len(got) != 1 || got[0] != want[0] {
		t.Errorf("up to date with %v, want %v", got, want)
	}
	// One for the tag of each commit, one for latest.
	if n := w.wire.count("HEAD", "/manifests/"); n > 3 || w.wire.count("GET", "/manifests/") > 0 {
		t.Errorf("%d HEAD and %d GET requests for manifests, want 3 and 0", n, w.wire.count("GET", "/manifests/"))
	}

	t.Log("the head moves: jq changes")
	rev := w.setHead(release, "release-leaf")
	w.mark()
	moved := w.expect(release+": build (new commit)", unstable+": none (up to date)")
	if n := len(w.asked()["nar"]); n == 0 || n > 30 {
		t.Errorf("%d NARs downloaded, want those of the changed layer", n)
	}
	// The layer with jq, the source, the root file system, and the image's configuration.
	if n := w.wire.count("PUT", "/blobs/uploads/"); n != 4 {
		t.Errorf("%d blobs sent, want 4", n)
	}
	if s := moved[0].Stats; s.ReusedLayers != s.Layers-3 {
		t.Errorf("%d of %d layers found in the registry, want all but 3", s.ReusedLayers, s.Layers)
	}
	if latest := w.tag(0, release, "latest"); latest != moved[0].Published[0].Digest.String() || latest != w.tag(0, release, rev) {
		t.Errorf("latest is %s, want %s", latest, moved[0].Published[0].Digest.String())
	}
	if old := w.tag(0, release, w.fixture.Commit("release-doc").Rev); old != first[0].Published[0].Digest.String() {
		t.Errorf("the tag of the commit before is %q, want %s", old, first[0].Published[0].Digest.String())
	}
	w.tidy()
}

func TestLostStateRebuildsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	first := w.expect(release+": build (new commit)", unstable+": build (new commit)")
	w.loseState()
	w.mark()
	again := w.expect(release+": none (up to date)", unstable+": none (up to date)")
	if asked := w.asked(); len(asked["archive"])+len(asked["narinfo"])+len(asked["nar"])+len(asked["cache"]) > 0 {
		t.Errorf("without state the upstream was asked for %v", asked)
	}
	if again[0].Published[0] != first[0].Published[0] {
		t.Errorf("published %v, want %v", again[0].Published, first[0].Published)
	}
	// What was found in the registry is on record again.
	f := w.open()
	defer f.Store.Close()
	for i, channel := range []string{release, unstable} {
		p, err := f.Store.Publication(base(channel), first[i].Published[0].Image)
		if err != nil || p == nil || p.Digest.String() != first[i].Published[0].Digest.String() {
			t.Errorf("%s: on record is %+v, %v, want the digest %s", channel, p, err, first[i].Published[0].Digest.String())
		}
	}
}

// Without state the layers of the last image are found in the registry, for a
// channel with a moving tag and for one without.
func TestLostStateReusesLayers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.expect(release+": build (new commit)", unstable+": build (new commit)")
	w.loseState()
	w.setHead(release, "release-leaf")
	w.setHead(unstable, "next-doc") // another source and no other package
	w.mark()
	results := w.expect(release+": build (new commit)", unstable+": build (new commit)")
	for _, r := range results {
		if r.Stats.ReusedLayers < r.Stats.Layers-3 {
			t.Errorf("%s: %d of %d layers found in the registry, want all but 3", r.Channel, r.Stats.ReusedLayers, r.Stats.Layers)
		}
	}
}

func (w *world) loseState() {
	w.t.Helper()
	if err := os.Remove(w.config.State); err != nil {
		w.t.Fatal(err)
	}
}
