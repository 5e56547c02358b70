package cycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// removed deletes a manifest or a blob by its digest, and leaves whatever leads there.
func (w *world) removed(host, kind string, digest v1.Hash) {
	w.t.Helper()
	req, err := http.NewRequest("DELETE", fmt.Sprintf("http://%s/v2/org/nixpkgs-%s/%s/%s", host, release, kind, digest), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		w.t.Fatalf("DELETE %s: %s", digest, resp.Status)
	}
}

// lost tells how much is gone below a tag.
func (w *world) lost(tag string) int {
	w.t.Helper()
	repo, index := w.index(release, tag)
	digest, err := index.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	missing, err := repo.Missing(w.t.Context(), digest)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(missing)
}

// A registry's clean-up takes what is below a tag and leaves the tag. Once a day
// that is asked for, and what is gone is made good, with the same digest; so it
// is without a record, and by hand.
func TestWhatIsBelowATagIsLost(t *testing.T) {
	t.Parallel()
	host := registrytest.Start(t, registrytest.Options{})
	w := newWorld(t, settings{publish: []string{host + "/org"}, channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")[0]
	manifest, err := w.image(release, first.Rev.String()).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	_, index := w.index(release, first.Rev.String())
	children, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	child, layer, top := children.Manifests[0].Digest, manifest.Layers[2].Digest, manifest.Layers[len(manifest.Layers)-1].Digest

	checkRepaired := func(what, got string) {
		t.Helper()
		if n := w.lost(first.Rev.String()); n > 0 || got != first.Published[0].Digest.String() || w.tag(0, release, "latest") != got {
			t.Errorf("%s lost: %d parts are missing afterwards, published %s, want none and %s", what, n, got, first.Published[0].Digest.String())
		}
	}
	for _, tt := range []struct {
		what, kind string
		digest     v1.Hash
	}{
		{"child", "manifests", child},
		{"layer", "blobs", layer},
		{"topmost layer", "blobs", top},
		{"configuration", "blobs", manifest.Config.Digest},
	} {
		w.removed(host, tt.kind, tt.digest)
		w.expect(release + ": none (up to date)") // half a day later
		results := w.expect(release + ": rebuild (incomplete in registry)")
		checkRepaired(tt.what, results[0].Published[0].Digest.String())
		contains(t, "the log", w.log.text(), "the image cannot be pulled")
	}

	w.removed(host, "blobs", layer)
	w.loseState()
	results := w.expect(release + ": rebuild (incomplete in registry)")
	checkRepaired("layer and state", results[0].Published[0].Digest.String())

	w.removed(host, "blobs", layer)
	result := w.rebuild(release, "")
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	checkRepaired("layer, and rebuilt by hand,", result.Published[0].Digest.String())
	w.forgiven(release)

	// No cycle looks at commits that the channel has left; by hand they are repaired.
	w.setHead(release, "release-leaf")
	w.expect(release + ": build (new commit)")
	w.removed(host, "manifests", child)
	if result := w.rebuild(release, first.Rev.String()); result.Err != nil || w.lost(first.Rev.String()) > 0 || w.tag(0, release, first.Rev.String()) != first.Published[0].Digest.String() {
		t.Errorf("an outdated commit, rebuilt by hand: %+v, %d parts are missing", result, w.lost(first.Rev.String()))
	}
}

// The daily question costs a request for each blob, and is asked once.
func TestCostOfTheDailyQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	results := w.expect(release + ": build (new commit)")
	manifest, err := w.image(release, results[0].Rev.String()).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, len(manifest.Layers) + 1, 0, len(manifest.Layers) + 1} {
		w.mark()
		w.expect(release + ": none (up to date)")
		if got := w.wire.count("HEAD", "/blobs/"); got != want {
			t.Errorf("%d hours after the publication: %d blobs were asked for, want %d", 12*(i+1), got, want)
		}
		if n := w.wire.count("GET", "/blobs/") + w.wire.count("PUT", "/") + w.wire.count("POST", "/"); n > 0 {
			t.Errorf("%d requests that read or write, want none", n)
		}
	}
	// A registry that cannot be asked for it is no registry that has lost something.
	w.expect(release + ": none (up to date)")
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			return answer(r, 503), nil
		}
		return nil, nil
	})
	w.mark()
	results = w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "503")
	if n := len(w.asked()["archive"]); n > 0 {
		t.Errorf("%d requests for the archive, want none", n)
	}
}

// A tag that moves between two questions leads nobody to the wrong image: what
// was decided of a digest is done with that digest.
func TestTagMovesBetweenQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	older := w.setHead(release, "shared")
	w.expect(release + ": build (new commit)")
	head := w.setHead(release, "release-doc")
	want := w.expect(release + ": build (new commit)")[0].Published[0].Digest.String()
	w.retag(release, "latest", older)
	moved := false
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if !moved && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			moved = true
			w.retag(release, head, older)
		}
		return nil, nil
	})
	w.expect(release + ": none (up to date)")
	w.wire.fails(nil)
	if got := w.tag(0, release, "latest"); !moved || got != want {
		t.Errorf("the commit's tag was moved: %t; latest is %s, want %s, what the tag led to when it was asked for", moved, got, want)
	}
}

// No tag is moved to an image that was whole when it was last asked for and is
// not any more. The next cycle makes that anew.
func TestNoTagMovesToWhatIsLost(t *testing.T) {
	t.Parallel()
	host := registrytest.Start(t, registrytest.Options{})
	w := newWorld(t, settings{publish: []string{host + "/org"}, channels: onlyRelease})
	older := w.setHead(release, "shared")
	before := w.expect(release + ": build (new commit)")[0].Published[0].Digest.String()
	head := w.setHead(release, "release-doc")
	want := w.expect(release + ": build (new commit)")[0].Published[0].Digest.String()
	w.retag(release, "latest", older)
	w.removed(host, "blobs", w.topmost(release))
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "latest", "has lost a part of the image")
	if got := w.tag(0, release, "latest"); got != before {
		t.Errorf("latest is %s, want it left at %s", got, before)
	}
	w.expect(release + ": rebuild (incomplete in registry)")
	if got := w.tag(0, release, "latest"); got != want || w.lost(head) > 0 {
		t.Errorf("latest is %s with %d parts missing, want %s with none", got, w.lost(head), want)
	}
}

// Looking for what need not be made again never holds a build up: a registry
// that does not answer is done without.
func TestLookingBackIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	w.expect(release + ": build (new commit)")
	w.setHead(release, "release-leaf")
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method == "GET" && strings.Contains(r.URL.Path, "/manifests/") {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		return nil, nil
	})
	f := w.open()
	defer f.Store.Close()
	f.LookBack = 100 * time.Millisecond
	results, err := f.Cycle(t.Context(), cycle.Options{})
	if err != nil || results[0].Err != nil || results[0].Stats.ReusedLayers != 0 {
		t.Fatalf("Cycle = %+v, %v, want an image with no layer reused", results, err)
	}
	contains(t, "the log", w.log.text(), "earlier image not used", "takes too long")
}

// A destination that lets nobody push is found out before anything is fetched.
func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{"oci:registry", registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method == "POST" {
			return answer(r, 403), nil
		}
		return nil, nil
	})
	w.mark()
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "403", w.config.Publish[1].To)
	if asked := w.asked(); len(asked["archive"])+len(asked["narinfo"]) > 0 {
		t.Errorf("the upstream was asked for %v", asked)
	}
	f := w.open()
	defer f.Store.Close()
	parts, err := f.BuildParts(t.Context(), release, "", w.system(foreign))
	if err != nil {
		t.Fatal(err)
	}
	if err := parts[0].Err; err == nil || !strings.Contains(err.Error(), "403") || errors.Is(err, context.Canceled) {
		t.Errorf("BuildPart: %v, want the registry's answer", err)
	}
	if n := len(w.asked()["archive"]); n > 0 {
		t.Errorf("a part: %d requests for the archive", n)
	}
}
