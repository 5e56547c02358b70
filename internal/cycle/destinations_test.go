package cycle_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// One build serves several destinations, and mends each of them.
func TestSeveralDestinations(t *testing.T) {
	t.Parallel()
	host := registrytest.Start(t, registrytest.Options{})
	w := newWorld(t, settings{publish: []string{"oci:one", host + "/org", "oci:two"}, channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")
	if n := len(w.asked()["archive"]); n != 2 { // GitHub redirects
		t.Errorf("%d requests for archives, want 2", n)
	}
	rev := first[0].Rev.String()
	var want []string
	for i, p := range first[0].Published {
		want = append(want, w.tag(i, release, rev), w.tag(i, release, "latest"))
		if p.Digest.String() != first[0].Published[0].Digest.String() {
			t.Errorf("%s has %s, want one digest everywhere: %s", p.Image, p.Digest, first[0].Published[0].Digest.String())
		}
	}
	for _, digest := range want {
		if digest != first[0].Published[0].Digest.String() {
			t.Errorf("tags are %v, want all %s", want, first[0].Published[0].Digest.String())
		}
	}

	t.Log("the image is deleted from the registry")
	w.delete(host, release, first[0].Published[0].Digest.String())
	w.mark()
	w.expect(release + ": build (missing in registry)")
	if n := len(w.asked()["nar"]); n > 0 {
		t.Errorf("%d NARs downloaded, want none: another destination has the layers", n)
	}
	for i := range w.config.Publish {
		for _, tag := range []string{rev, "latest"} {
			if got := w.tag(i, release, tag); got != first[0].Published[0].Digest.String() {
				t.Errorf("%s: %s is %q, want %s", w.config.Publish[i].To, tag, got, first[0].Published[0].Digest.String())
			}
		}
	}

	t.Log("a layout is deleted")
	if err := os.RemoveAll(w.config.Publish[0].Layout); err != nil {
		t.Fatal(err)
	}
	w.mark()
	w.expect(release + ": build (missing in registry)")
	if n := len(w.asked()["nar"]); n > 0 {
		t.Errorf("%d NARs downloaded, want none: another destination has the layers", n)
	}
	if diff := cmp.Diff(blobs(t, w.config.Publish[2].Layout), blobs(t, w.config.Publish[0].Layout)); diff != "" {
		t.Errorf("the layout is not what the other one is (-other +new):\n%s", diff)
	}
	w.expect(release + ": none (up to date)")
	w.tidy()
}

// delete removes a manifest, with all tags that point to it, from a registry.
func (w *world) delete(host, channel, digest string) {
	w.t.Helper()
	req, err := http.NewRequest("DELETE", fmt.Sprintf("http://%s/v2/org/nixpkgs-%s/manifests/%s", host, channel, digest), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
		w.t.Fatalf("DELETE %s: %s: %s", digest, resp.Status, text)
	}
}

// One of two destinations is down: nothing is built, and the error says which.
func TestOneDestinationDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{"oci:one", "127.0.0.1:9/org"}, channels: onlyRelease})
	var asked atomic.Int32
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		return answer(r, 502), nil
	})
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "127.0.0.1:9/org/nixpkgs-"+release, "502")
	if asked.Load() == 0 || len(w.asked()["archive"]) > 0 || len(blobs(t, w.config.Publish[0].Layout)) > 0 {
		t.Errorf("%d requests to the registry, %v to the upstream, the layout has %v", asked.Load(), w.asked(), blobs(t, w.config.Publish[0].Layout))
	}
}

// A layout that lost blobs is mended, not given up.
func TestLayoutWithLostBlobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")
	manifest, err := w.image(release, first[0].Rev.String()).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(manifest.Layers, func(d v1.Descriptor) bool {
		return strings.Contains(d.Annotations[layers.PathsAnnotation], "-glibc-")
	})
	shared, size := filepath.Join(w.config.Publish[0].Layout, "blobs/sha256", manifest.Layers[at].Digest.Hex), manifest.Layers[at].Size
	damages := map[string]func() error{
		"lost":      func() error { return os.Remove(shared) },
		"truncated": func() error { return os.Truncate(shared, size/2) },
	}
	for name, damage := range damages {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if result := w.rebuild(release, ""); result.Err != nil || result.Published[0] != first[0].Published[0] {
			t.Fatalf("%s: rebuild: %+v", name, result)
		}
		if info, err := os.Stat(shared); err != nil || info.Size() != size {
			t.Errorf("%s: after rebuild the blob is %v, %v, want %d bytes", name, info, err, size)
		}
	}
	// The images of the next commits would share the layer.
	for name, change := range map[string]string{"lost": "release-leaf", "truncated": "shared"} {
		if err := damages[name](); err != nil {
			t.Fatal(err)
		}
		w.setHead(release, change)
		w.expect(release + ": build (new commit)")
		if info, err := os.Stat(shared); err != nil || info.Size() != size {
			t.Errorf("%s: after the next commit's build the blob is %v, %v, want %d bytes", name, info, err, size)
		}
	}
}
