package cycle_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// A commit that fails beside a head that fails has a count and a wait of its own.
func TestFailuresSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.config.Backfill = 1
	noArchives := w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		archive := strings.HasPrefix(r.URL.Path, "/codeload/")
		if archive {
			http.NotFound(rw, r)
		}
		return archive
	})
	passed := w.setHead(release, "shared")
	head := w.setHead(release, "release-doc")
	for n := 1; n <= 3; n++ {
		w.expect(release+": failed", release+": failed")
		counts := map[string]int{}
		for _, f := range w.failures() {
			counts[f.Rev.String()] = f.Count
		}
		if diff := cmp.Diff(map[string]int{head: n, passed: n}, counts); diff != "" {
			t.Errorf("after %d cycles (-want +got):\n%s", n, diff)
		}
	}
	// What a channel cannot be asked for says nothing of its commits.
	remove := w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		rw.WriteHeader(http.StatusBadRequest)
		return true
	})
	w.expect(release + ": failed")
	remove()
	if got := w.failures(); len(got) != 3 || !got[0].Rev.IsZero() {
		t.Errorf("failures on record: %+v, want those of the channel and of both commits", got)
	}

	// What no cycle will try again is no failure any more.
	next := w.setHead(release, "release-leaf")
	w.setHead(release, "release-deep")
	noArchives()
	w.expect(release+": build (new commit)", release+": build (backfill)")
	if w.tag(0, release, next) == "" {
		t.Errorf("%s has no image", next)
	}
	w.forgiven(release)
}

// An optional system that upstream lacked is taken in when it is there, which
// costs a question in each cycle until then and no build.
func TestSystemThatComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	late := w.system("x86_64-linux")
	w.config.Channels[0].Optional = []config.System{late}
	head := w.setHead(release, "shared")
	there := w.withoutSystem(head, "x86_64-linux")
	w.expect(release + ": build (new commit)")
	for range 3 {
		w.mark()
		w.expect(release + ": none (up to date)")
		if asked := w.asked(); len(asked["narinfo"]) != 1 || len(asked["archive"]) > 0 {
			t.Errorf("asked for %v, want one narinfo", asked)
		}
	}
	// Without a record of what it waits for it is tried a day later, once.
	w.loseState()
	w.expect(release + ": none (up to date)")
	w.expect(release + ": none (up to date)")
	w.expect(release + ": rebuild (system available)")
	for range 3 {
		w.expect(release + ": none (up to date)")
	}
	there()
	results := w.expect(release + ": rebuild (system available)")
	_, index := w.index(release, head)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 || w.tag(0, release, "latest") != results[0].Published[0].Digest.String() {
		t.Errorf("the index has %v, latest is %s, want both systems and %s", manifest.Manifests, w.tag(0, release, "latest"), results[0].Published[0].Digest.String())
	}
	for range 3 {
		w.mark()
		w.expect(release + ": none (up to date)")
		if n := len(w.asked()["narinfo"]); n > 0 {
			t.Errorf("nothing is lacking, and %d narinfos were asked for", n)
		}
	}
}

// Parts say what a system that was left out waits for.
func TestPartThatLacksASystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	late := w.system("x86_64-linux")
	w.config.Channels[0].Optional = []config.System{late}
	head := w.setHead(release, "shared")
	there := w.withoutSystem(head, "x86_64-linux")
	parts := []cycle.Part{w.part("x86_64-linux"), w.part("aarch64-linux")}
	if !strings.HasPrefix(parts[0].Lacks.Name(), "coreutils") || parts[0].Digest != "" {
		t.Errorf("the part is %+v, want one without a digest that lacks coreutils", parts[0])
	}
	if result := w.join(parts); result.Err != nil {
		t.Fatal(result.Err)
	}
	w.expect(release + ": none (up to date)")
	there()
	f := w.open()
	defer f.Store.Close()
	if jobs, err := f.Plan(t.Context(), cycle.Options{}); err != nil || jobs[0].Reason != plan.SystemCame {
		t.Errorf("Plan = %+v, %v, want %s", jobs, err, plan.SystemCame)
	}
}

// limited makes the API refuse to be asked for heads once an archive was asked for.
func (w *world) limited() (remove func()) {
	var built atomic.Bool
	return w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/codeload/") {
			built.Store(true)
		}
		if !built.Load() || !strings.Contains(r.URL.Path, "/branches/") {
			return false
		}
		rw.Header().Set("X-RateLimit-Remaining", "0")
		rw.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
		http.Error(rw, `{"message": "API rate limit exceeded"}`, http.StatusForbidden)
		return true
	})
}

// A limit at the end of a publication does not throw the image away: it has its
// commit's tag, and the moving tags follow when the head is known again.
func TestRateLimitAtTheEnd(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	w := newWorld(t, settings{channels: onlyRelease, image: image})
	head := w.upstream.Head(release)
	remove := w.limited()
	first := w.expect(release + ": build (new commit)")[0]
	remove()
	if got := w.tag(0, release, head); got != first.Published[0].Digest.String() || w.tag(0, release, "latest") != "" {
		t.Errorf("the commit's tag is %q, latest %q, want %s and none", got, w.tag(0, release, "latest"), first.Published[0].Digest.String())
	}
	contains(t, "the log", w.log.text(), "the moving tags are left to the next cycle")
	w.mark()
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, "latest"); got != first.Published[0].Digest.String() || len(w.asked()["archive"]) > 0 {
		t.Errorf("latest is %q, want %s without another build", got, first.Published[0].Digest.String())
	}

	// A tag that is there may be an outdated commit's by now: it is not written over.
	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")
	remove = w.limited()
	results := w.expect(release + ": failed")
	remove()
	contains(t, "error", results[0].Error, "GitHub cannot be asked whether the commit is still the head", "rate limit")
	if got := w.tag(0, release, head); got != first.Published[0].Digest.String() {
		t.Errorf("the commit's tag became %s", got)
	}
	w.expect(release + ": rebuild (recipe changed)")
}

// A date that cannot be the commit's own is not written into images.
func TestImpossibleDates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	date := w.fixture.Commit("release-doc").Date.UTC().Format(time.RFC3339)
	for _, tt := range []struct{ date, want string }{
		{"2002-12-31T23:59:59Z", "before nixpkgs existed"},
		{"1970-01-01T00:00:00Z", "before nixpkgs existed"},
		{w.now.Add(15 * 24 * time.Hour).Format(time.RFC3339), "in the future"},
		{"9999-12-31T23:59:59Z", "in the future"},
	} {
		w.once(func(path string) bool { return strings.HasSuffix(path, "/branches/"+release) }, func(rw http.ResponseWriter, _ *http.Request, answer []byte) {
			rw.Write(bytes.ReplaceAll(answer, []byte(date), []byte(tt.date)))
		})
		w.failsAlone(t, tt.want, tt.date[:10])
	}
	w.recovers()
}

// What cannot be opened for one channel is that channel's failure.
func TestChannelThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	f := w.open()
	defer f.Store.Close()
	open := f.Repository
	f.Repository = func(dest config.Destination, under string) (registry.Repository, error) {
		if under == "nixpkgs-"+unstable {
			return nil, fmt.Errorf("no repository %s", under)
		}
		return open(dest, under)
	}
	results, err := f.Cycle(t.Context(), cycle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{release + ": build (new commit)", unstable + ": failed"}, w.outcome(results)); diff != "" {
		t.Errorf("the cycle ended otherwise (-want +got):\n%s", diff)
	}
	contains(t, "error", results[1].Error, "no repository nixpkgs-"+unstable)
}

// Whose signatures count decides which of them are in an image's database.
func TestKeysAreInTheRecipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	f := w.open()
	defer f.Store.Close()
	before, err := f.Recipe(f.Config.Channels[0], f.Config.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	subs := f.Config.Substituters
	f.Config.Substituters = append(subs[:len(subs):len(subs)], config.Substituter{URL: subs[0].URL, Keys: []nix.PublicKey{nixtest.NewSecretKey("other-1", [32]byte{2}).Public()}})
	after, err := f.Recipe(f.Config.Channels[0], f.Config.Images[0])
	if err != nil || before == after {
		t.Errorf("with another trusted key the recipe is %s, %v, want another one than %s", after, err, before)
	}
}
