package cycle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecipeChangedRebuildsHeadsOnly(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	w := newWorld(t, settings{image: image, channels: "[ { name: nixos-26.05, tags: [ latest ] } ]"})
	outdated := w.upstream.Head(release)
	first := w.expect(release + ": build (new commit)")
	head := w.setHead(release, "release-leaf")
	second := w.expect(release + ": build (new commit)")

	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")
	w.mark()
	third := w.expect(release + ": rebuild (recipe changed)")
	if n := len(w.asked()["nar"]); n > 0 {
		t.Errorf("%d NARs downloaded, want none: no package changed", n)
	}
	if got := w.tag(0, release, head); got != third[0].Published[0].Digest.String() || got == second[0].Published[0].Digest.String() {
		t.Errorf("the head's tag is %s, want %s, and not %s as before", got, third[0].Published[0].Digest.String(), second[0].Published[0].Digest.String())
	}
	if got := w.tag(0, release, "latest"); got != third[0].Published[0].Digest.String() {
		t.Errorf("latest is %s, want %s", got, third[0].Published[0].Digest.String())
	}
	if got := w.tag(0, release, outdated); got != first[0].Published[0].Digest.String() {
		t.Errorf("the tag of the outdated commit became %s, want %s", got, first[0].Published[0].Digest.String())
	}
	w.expect(release + ": none (up to date)")

	// By hand it does not change either.
	result := w.rebuild(release, outdated)
	if result.Err == nil || !strings.Contains(result.Error, "never changes") {
		t.Errorf("rebuild of an outdated commit under a new recipe: error %v, want one that says never changes", result.Err)
	}
	if got := w.tag(0, release, outdated); got != first[0].Published[0].Digest.String() {
		t.Errorf("after rebuild by hand the tag of the outdated commit is %s, want %s", got, first[0].Published[0].Digest.String())
	}
}

// A commit that never was the head gets its image, and no moving tag.
func TestRebuildOfAnOlderCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: "[ { name: nixos-26.05, tags: [ latest ] } ]"})
	first := w.expect(release + ": build (new commit)")
	older := w.fixture.Commit("shared").Rev
	result := w.rebuild(release, older[:9])
	if result.Err != nil || result.Rev.String() != older || w.tag(0, release, older) != result.Published[0].Digest.String() {
		t.Errorf("rebuild --rev %s: %+v, the tag is %q", older[:9], result, w.tag(0, release, older))
	}
	if got := w.tag(0, release, "latest"); got != first[0].Published[0].Digest.String() {
		t.Errorf("latest became %s, want %s", got, first[0].Published[0].Digest.String())
	}
	// The head, made from nothing, is what it was.
	again := w.rebuild(release, "")
	if again.Err != nil || again.Published[0] != first[0].Published[0] || again.Stats.ReusedLayers != 0 {
		t.Errorf("rebuild: %+v, want %v with no layer reused", again, first[0].Published)
	}
}

// copyImage copies the image folder, so that a test can change it.
func copyImage(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(dir, os.DirFS(imageFolder)); err != nil {
		t.Fatal(err)
	}
	return dir
}
