package cycle_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/upload"
)

// Channels often meet on a commit: the second one to come there sends what is
// its own, and has the rest mounted.
func TestChannelsThatMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.setHead(release, "shared")
	w.setHead(unstable, "next")
	w.expect(release+": build (new commit)", unstable+": build (new commit)")
	all := w.wire.count("PUT", "/nixpkgs-"+release+"/blobs/uploads/")
	w.setHead(unstable, "shared")
	w.mark()
	w.expect(release+": none (up to date)", unstable+": build (new commit)")
	sent := w.wire.count("PUT", "/nixpkgs-"+unstable+"/blobs/uploads/")
	if sent != 2 || all < 10 {
		t.Errorf("%d of %d blobs were sent, want 2: the configuration and the root file system", sent, all)
	}
	if n := len(w.asked()["nar"]); n != 0 {
		t.Errorf("%d NARs were downloaded for layers that the registry has", n)
	}
}

func TestTrafficWithNothingNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.expect(release+": build (new commit)", unstable+": build (new commit)")
	w.mark()
	w.expect(release+": none (up to date)", unstable+": none (up to date)")
	requests := w.asked()
	if got := len(requests["api"]); got != 2 || len(requests) != 1 {
		t.Errorf("upstream was asked %v, want one request to the API for each channel", requests)
	}
	for _, r := range requests["api"] {
		if r.Status != http.StatusNotModified {
			t.Errorf("%s: status %d, want 304", r.Path, r.Status)
		}
	}
	// The tag of each commit, and latest.
	heads := w.wire.count("HEAD", "/manifests/")
	other := w.wire.count("GET", "/manifests/") + w.wire.count("GET", "/blobs/") + w.wire.count("HEAD", "/blobs/")
	if heads != 3 || other != 0 {
		t.Errorf("%d HEAD and %d other requests to the registry, want 3 and 0", heads, other)
	}

	if err := os.Remove(w.config.State); err != nil {
		t.Fatal(err)
	}
	w.mark()
	w.expect(release+": none (up to date)", unstable+": none (up to date)")
	// Of each channel: the index, for what it says, and everything below the tag.
	if gets, blobs := w.wire.count("GET", "/manifests/"), w.wire.count("GET", "/blobs/"); gets != 6 || blobs != 0 {
		t.Errorf("state lost: %d manifests and %d blobs were read, want 6 and 0", gets, blobs)
	}
	if n := len(w.asked()["nar"]) + len(w.asked()["archive"]); n != 0 {
		t.Errorf("state lost: %d downloads", n)
	}
}

// However many channels and systems there are: with nothing new a channel costs one
// conditional request to the API, and one question of the registry for each tag.
func TestNothingNewOfSixChannels(t *testing.T) {
	t.Parallel()
	names := []string{release, unstable, "nixos-25.11", "nixos-26.05-small", "nixos-unstable-small", "nixpkgs-unstable"}
	list, built, current := "", []string{}, []string{}
	for _, name := range names {
		list += "\n- { name: " + name + ", tags: [ latest ] }"
		built, current = append(built, name+": build (new commit)"), append(current, name+": none (up to date)")
	}
	w := newWorld(t, settings{
		publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"},
		systems: "x86_64-linux, aarch64-linux", channels: list,
	})
	w.expect(built...)
	w.mark()
	w.expect(current...)
	requests := w.asked()
	if got := len(requests["api"]); got != len(names) || len(requests) != 1 {
		t.Errorf("upstream was asked %v, want one request to the API for each channel", requests)
	}
	for _, r := range requests["api"] {
		if r.Status != http.StatusNotModified {
			t.Errorf("%s: status %d, want 304", r.Path, r.Status)
		}
	}
	heads, all := w.wire.count("HEAD", "/manifests/"), w.wire.count("", "/v2/org/")
	if want := 2 * len(names); heads != want || all != want {
		t.Errorf("%d HEAD of %d requests to the registry, want %d: the tag of each commit, and latest", heads, all, want)
	}
}

// bin is a binary cache that keeps what it is given, or fails.
type bin struct {
	err   error
	paths []string
	nars  map[string]int64 // of objects without a signature: by how much the NAR is too long
}

func (b *bin) Name() string { return "bin" }

func (b *bin) Push(ctx context.Context, infos []nix.PathInfo, objects upload.Objects) (upload.Report, error) {
	if b.err != nil {
		return upload.Report{}, b.err
	}
	for _, info := range infos {
		b.paths = append(b.paths, info.Path.Name())
		if len(info.Sigs) > 0 {
			continue
		}
		rc, err := objects.NAR(ctx, info)
		if err != nil {
			return upload.Report{}, err
		}
		_, n, err := v1.SHA256(rc)
		rc.Close()
		if err != nil {
			return upload.Report{}, err
		}
		b.nars[info.Path.Name()] = n - info.NarSize
	}
	return upload.Report{Pushed: len(b.nars)}, nil
}

func TestUploadAfterPublication(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	good, broken := &bin{nars: map[string]int64{}}, &bin{err: errors.New("the cache is full")}
	f := w.open()
	defer f.Store.Close()
	f.Uploads = []upload.Target{broken, good}
	results, err := f.Cycle(t.Context(), cycle.Options{})
	if err != nil || results[0].Err != nil {
		t.Fatalf("a cache that fails is no failure of the image: %v, %+v", err, results)
	}
	contains(t, "the log", w.log.text(), "the cache is full", "binary cache filled")
	if diff := cmp.Diff(map[string]int64{"nixpkgs-src": 0, "source": 0}, good.nars); diff != "" {
		t.Errorf("objects without a signature (-want +got):\n%s", diff)
	}
	if !slices.Contains(good.paths, "nixpkgs-src") || len(good.paths) < 100 {
		t.Errorf("the cache was offered %d paths, want the closures of both systems and the source", len(good.paths))
	}
}

func TestStopBetweenChannels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	stop := make(chan struct{})
	f := w.open()
	defer f.Store.Close()
	f.Uploads = []upload.Target{stopper{stop}} // the first image is published by then
	results, err := f.Cycle(t.Context(), cycle.Options{Stop: stop})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{release + ": build (new commit)"}, w.outcome(results)); diff != "" {
		t.Errorf("a stop after the first channel (-want +got):\n%s", diff)
	}
}

type stopper struct{ stop chan struct{} }

func (s stopper) Name() string { return "stopper" }

func (s stopper) Push(context.Context, []nix.PathInfo, upload.Objects) (upload.Report, error) {
	close(s.stop)
	return upload.Report{}, nil
}
