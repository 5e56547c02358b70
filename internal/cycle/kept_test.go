package cycle_test

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// immutable makes the registry refuse to write over tags that are there.
func (w *world) immutable() {
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		_, tag, ok := strings.Cut(r.URL.Path, "/manifests/")
		if r.Method != "PUT" || !ok || strings.HasPrefix(tag, "sha256:") {
			return nil, nil
		}
		req, err := http.NewRequest("HEAD", r.URL.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, err
		}
		refused := answer(r, 400)
		refused.Body = io.NopCloser(strings.NewReader(`{"errors":[{"code":"TAG_INVALID","message":"the tag already exists and cannot be overwritten because the repository is immutable"}]}`))
		return refused, nil
	})
}

// What a registry refuses to write over is kept and told once; no cycle fails
// for it, and none tries it again.
func TestTagsThatCannotBeMoved(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, image: image, channels: onlyRelease})
	w.immutable()
	first := w.expect(release + ": build (new commit)")[0]
	told := func() int { return strings.Count(w.log.text(), "does not let this tag be moved") }

	t.Log("the recipe changes: the head's image stays")
	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")
	results := w.expect(release + ": none (kept, its tag is immutable)")
	if results[0].Published[0] != first.Published[0] || told() != 1 {
		t.Errorf("published %v, told %d times, want %v and once", results[0].Published, told(), first.Published)
	}
	w.mark()
	results = w.expect(release + ": none (up to date)")
	if results[0].Published[0] != first.Published[0] || told() != 1 || w.wire.count("PUT", "/") > 0 || len(w.asked()["archive"]) > 0 {
		t.Errorf("again: published %v, told %d times, %d PUT requests, %v", results[0].Published, told(), w.wire.count("PUT", "/"), w.asked())
	}
	w.forgiven(release)

	t.Log("the head moves: its image is published, and latest stays")
	head := w.setHead(release, "release-leaf")
	moved := w.expect(release + ": build (new commit)")[0]
	if got := w.tag(0, release, head); got != moved.Published[0].Digest.String() || w.tag(0, release, "latest") != first.Published[0].Digest.String() || told() != 2 {
		t.Errorf("the commit's tag is %s, latest %s, told %d times, want %s, %s and twice: once for each tag",
			got, w.tag(0, release, "latest"), told(), moved.Published[0].Digest.String(), first.Published[0].Digest.String())
	}
	w.mark()
	w.expect(release + ": none (up to date)")
	if told() != 2 || w.wire.count("PUT", "/") > 0 {
		t.Errorf("again: told %d times, %d PUT requests", told(), w.wire.count("PUT", "/"))
	}

	t.Log("by hand it is told again")
	if result := w.rebuild(release, ""); result.Err != nil || result.Published[0] != moved.Published[0] || told() != 3 {
		t.Errorf("rebuild: %+v, told %d times", result, told())
	}

	t.Log("the registry changes its mind: it is asked again after a week")
	w.wire.fails(nil)
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, "latest"); got != first.Published[0].Digest.String() {
		t.Errorf("latest is %s within the week, want %s", got, first.Published[0].Digest.String())
	}
	w.now = w.now.Add(7 * 24 * time.Hour)
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, "latest"); got != moved.Published[0].Digest.String() {
		t.Errorf("latest is %s after a week, want %s", got, moved.Published[0].Digest.String())
	}

	t.Log("the next head has all tags")
	w.setHead(release, "release-deep")
	last := w.expect(release + ": build (new commit)")[0]
	if got := w.tag(0, release, "latest"); got != last.Published[0].Digest.String() {
		t.Errorf("latest is %s, want %s", got, last.Published[0].Digest.String())
	}
}

// An image that is kept and has lost a part can neither be pulled nor be made
// again: that is a failure, until its tag is gone.
func TestKeptImageThatLostAPart(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	host := registrytest.Start(t, registrytest.Options{})
	w := newWorld(t, settings{publish: []string{host + "/org"}, image: image, channels: onlyRelease})
	w.immutable()
	first := w.expect(release + ": build (new commit)")[0]
	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")
	w.expect(release + ": none (kept, its tag is immutable)")
	w.expect(release + ": none (up to date)")
	manifest, err := w.image(release, first.Rev.String()).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	w.removed(host, "blobs", manifest.Layers[2].Digest)
	w.now = w.now.Add(24 * time.Hour)
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, manifest.Layers[2].Digest.String(), "delete it in the registry")

	_, index := w.index(release, first.Rev.String())
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.removed(host, "manifests", digest)
	if again := w.expect(release + ": build (missing in registry)")[0]; again.Published[0].Digest.String() == digest.String() || w.lost(first.Rev.String()) > 0 {
		t.Errorf("published %v, %d parts are missing, want another image that is whole", again.Published, w.lost(first.Rev.String()))
	}
}

// One place keeps its image, the other one gets the new one.
func TestOneOfTwoPlacesKeepsItsImage(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org", "oci:two"}, image: image, channels: onlyRelease})
	w.immutable()
	first := w.expect(release + ": build (new commit)")[0]
	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")
	second := w.expect(release + ": rebuild (recipe changed)")[0]
	if second.Published[0] != first.Published[0] || second.Published[1].Digest.String() == first.Published[1].Digest.String() {
		t.Errorf("published %v after %v, want the first place as it was and the second one changed", second.Published, first.Published)
	}
	for i, tag := range []string{w.tag(0, release, "latest"), w.tag(1, release, "latest")} {
		if tag != second.Published[i].Digest.String() {
			t.Errorf("latest in place %d is %s, want %s", i, tag, second.Published[i].Digest.String())
		}
	}
	w.expect(release + ": none (up to date)")
}

// A registry that says yes to an index and keeps nothing is found out before any
// tag is set.
func TestPushedIndexIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method != "PUT" || !strings.Contains(r.URL.Path, "/manifests/sha256:") || !strings.Contains(r.Header.Get("Content-Type"), "index") {
			return nil, nil
		}
		kept := answer(r, 201)
		kept.Body = io.NopCloser(bytes.NewReader(nil))
		return kept, nil
	})
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "publish")
	if got := w.tag(0, release, w.upstream.Head(release)); got != "" {
		t.Errorf("the commit's tag is %s, want none", got)
	}
	w.wire.fails(nil)
	w.expect(release + ": build (new commit)")
}
