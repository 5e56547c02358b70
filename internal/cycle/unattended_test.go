package cycle_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

func TestCommitsThatWerePassedAreFilledIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.config.Backfill = 2
	w.expect(release+": build (new commit)", release+": build (backfill)", release+": build (backfill)")
	passed := w.setHead(release, "release-leaf")
	head := w.setHead(release, "release-deep")
	w.expect(release+": build (new commit)", release+": build (backfill)")
	if w.tag(0, release, passed) == "" {
		t.Errorf("%s, which was passed, has no tag", passed)
	}
	if latest, want := w.tag(0, release, "latest"), w.tag(0, release, head); latest != want {
		t.Errorf("latest is %s, the head's image %s", latest, want)
	}
	w.mark()
	w.expect(release + ": none (up to date)")
	if n := len(w.asked()["api"]); n != 2 {
		t.Errorf("%d requests to the API with nothing to fill in, want 2: the head and the activity", n)
	}

	// What is there is never written over, whatever it is.
	if err := os.Remove(w.config.State); err != nil {
		t.Fatal(err)
	}
	w.retag(release, passed, head)
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, passed); got != w.tag(0, release, head) {
		t.Errorf("the tag of a passed commit was written over: %s", got)
	}
}

// retag makes one tag point to what another one points to, as somebody else might.
func (w *world) retag(channel, tag, to string) {
	w.t.Helper()
	repo, index := w.index(channel, to)
	if err := repo.Tag(w.t.Context(), index, tag); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) index(channel, tag string) (registry.Repository, v1.ImageIndex) {
	w.t.Helper()
	repo, err := w.repository(w.config.Publish[0], "nixpkgs-"+channel)
	if err != nil {
		w.t.Fatal(err)
	}
	index, err := repo.Index(w.t.Context(), tag)
	if err != nil {
		w.t.Fatal(err)
	}
	return repo, index
}

func TestFrozenChannels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.expect(release+": build (new commit)", unstable+": build (new commit)")
	tag := w.tag(0, release, "latest")

	// A branch that is not found while the list of branches has it cannot be asked.
	missing := w.upstream.Handle(notFound("/branches/" + release))
	results := w.expect(release+": failed", unstable+": none (up to date)")
	contains(t, "error", results[0].Error, release, "the list of branches has it")

	// Nor is anything known while there is no list.
	noList := w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		refuse := strings.Contains(r.URL.Path, "/matching-refs/heads/"+release)
		if refuse {
			rw.WriteHeader(http.StatusBadRequest)
		}
		return refuse
	})
	w.expect(release+": failed", unstable+": none (up to date)")
	noList()

	// The branch of a channel that was followed is gone from the list, too: its life
	// is over, which nobody has said, so it is a warning.
	unlisted := w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		list := strings.Contains(r.URL.Path, "/matching-refs/heads/"+release)
		if list {
			rw.Write([]byte("[]"))
		}
		return list
	})
	w.expect(release+": none (frozen, its branch is gone)", unstable+": none (up to date)")
	contains(t, "the log", w.log.text(), "level=WARN", "upstream has no such branch any more", "channel="+release)
	w.forgiven(release)
	missing()
	unlisted()
	w.expect(release+": none (up to date)", unstable+": none (up to date)")

	// So it is when the configuration says so; then nobody is asked.
	w.config.Channels[0].Frozen = true
	w.setHead(release, "release-leaf")
	w.mark()
	w.expect(release+": none (frozen)", unstable+": none (up to date)")
	for _, r := range w.asked()["api"] {
		if strings.Contains(r.Path, release) {
			t.Errorf("the frozen channel was asked for: %s", r.Path)
		}
	}
	if got := w.tag(0, release, "latest"); got != tag {
		t.Errorf("latest of the frozen channel went from %s to %s", tag, got)
	}
}

// notFound answers 404 to paths with an end.
func notFound(end string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		found := strings.HasSuffix(r.URL.Path, end)
		if found {
			http.Error(rw, `{"message": "Not Found"}`, http.StatusNotFound)
		}
		return found
	}
}

func TestTagsThatStray(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	first := w.setHead(release, "shared")
	w.expect(release + ": build (new commit)")
	outdated := w.tag(0, release, first)
	head := w.setHead(release, "release-doc")
	w.expect(release + ": build (new commit)")
	want := w.tag(0, release, head)

	for name, stray := range map[string]func(){
		"moved": func() { w.retag(release, head, first) },
		"gone":  func() { w.untag(release, head) },
	} {
		stray()
		w.mark()
		w.expect(release + ": none (up to date)")
		if got := w.tag(0, release, head); got != want {
			t.Errorf("%s: the head's tag is %s, want %s back", name, got, want)
		}
		if n := len(w.asked()["nar"]) + len(w.asked()["archive"]); n != 0 {
			t.Errorf("%s: %d downloads to put a tag back", name, n)
		}
		contains(t, "the log", w.log.text(), "putting it back")
	}

	w.retag(release, first, head)
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, first); got == outdated {
		t.Error("the tag of an outdated commit was put right: only heads are")
	}
}

// untag takes an entry out of a layout's index.
func (w *world) untag(channel, tag string) {
	w.t.Helper()
	file := filepath.Join(w.config.Publish[0].Layout, "index.json")
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	renamed := strings.ReplaceAll(string(data), "nixpkgs-"+channel+":"+tag+`"`, "nixpkgs-"+channel+`:lost"`)
	if renamed == string(data) {
		w.t.Fatalf("the layout has no tag %s", tag)
	}
	if err := os.WriteFile(file, []byte(renamed), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func TestTagTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: `[ { name: nixos-26.05, tags: [ latest, "{rev:12}", "{version}-{date}" ] } ]`})
	head := w.setHead(release, "release-doc")
	w.expect(release + ": build (new commit)")
	want := w.tag(0, release, head)
	dated := "26.05-" + w.fixture.Commit("release-doc").Date.UTC().Format("20060102")
	for _, tag := range []string{"latest", head[:12], dated} {
		if got := w.tag(0, release, tag); got != want {
			t.Errorf("tag %s is %q, want %s", tag, got, want)
		}
	}
	// They are put back without a record, too: the image says its version.
	w.untag(release, dated)
	if err := os.Remove(w.config.State); err != nil {
		t.Fatal(err)
	}
	w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, dated); got != want {
		t.Errorf("tag %s is %q, want %s back", dated, got, want)
	}
}

// withoutSystem makes the stand-in's cache lack a tool of a system.
// there puts it back.
func (w *world) withoutSystem(rev, system string) (there func()) {
	digest := filepath.Base(w.fixture.Outputs(rev, system)["coreutils"][0])[:32]
	return w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		absent := strings.Contains(r.URL.Path, digest+".narinfo")
		if absent {
			http.NotFound(rw, r)
		}
		return absent
	})
}

func TestSystemThatUpstreamLacks(t *testing.T) {
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	head := w.setHead(release, "shared")
	w.withoutSystem(head, "aarch64-linux")
	t.Setenv("NIX_REMOTE", "local?root="+t.TempDir()) // where building it is tried, in vain
	results := w.expect(release + ": failed")
	contains(t, "the error", results[0].Error, "aarch64-linux", "coreutils")
	if got := w.tag(0, release, head); got != "" {
		t.Errorf("an image of one system was published for two: %s", got)
	}
	w.config.Channels[0].Optional = []config.System{w.system("aarch64-linux")}
	w.expect(release + ": build (new commit)")
	_, index := w.index(release, head)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.Architecture != "amd64" {
		t.Errorf("the index has %v, want the image for amd64 alone", manifest.Manifests)
	}
	w.expect(release + ": none (up to date)")
}

func TestVerifyCommands(t *testing.T) {
	w := newWorld(t, settings{channels: onlyRelease})
	head := w.setHead(release, "shared")
	t.Setenv("GITHUB_TOKEN", "secret-token")
	w.config.Verify = []string{"echo what is wrong; false"}
	results := w.expect(release + ": failed")
	contains(t, "the error", results[0].Error, "verify", "echo what is wrong; false", "what is wrong")
	if got := w.tag(0, release, head); got != "" {
		t.Errorf("an image that was not verified has a tag: %s", got)
	}
	w.config.Verify = []string{
		`test -z "$GITHUB_TOKEN"`,
		"skopeo inspect --override-arch arm64 --tls-verify=false docker://$IMAGE > verified.json",
	}
	w.expect(release + ": build (new commit)")
	data, err := os.ReadFile(filepath.Join(w.dir, "verified.json"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "what skopeo saw", string(data), w.tag(0, release, head))
}

func TestPartsGiveTheSameImage(t *testing.T) {
	t.Parallel()
	whole := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	head := whole.setHead(release, "shared")
	whole.expect(release + ": build (new commit)")
	want := whole.tag(0, release, head)

	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux"})
	w.setHead(release, "shared")
	parts := []cycle.Part{w.part("aarch64-linux")}
	result := w.join(parts)
	if result.Err == nil || w.tag(0, release, head) != "" {
		t.Errorf("published with a system missing: %+v", result)
	}
	contains(t, "the error", result.Error, "x86_64-linux")
	if err := os.Remove(w.config.State); err != nil { // another machine has another state
		t.Fatal(err)
	}
	parts = append(parts, w.part("x86_64-linux"))
	if got := w.tag(0, release, head); got != "" {
		t.Errorf("a part has set the tag: %s", got)
	}
	foreign := slices.Clone(parts)
	foreign[0].Recipe = "sha256:0"
	if result := w.join(foreign); result.Err == nil {
		t.Error("a part of another recipe was joined")
	}
	if result := w.join(parts); result.Err != nil {
		t.Fatal(result.Err)
	}
	for _, tag := range []string{head, "latest"} {
		if got := w.tag(0, release, tag); got != want {
			t.Errorf("tag %s: the parts give %q, one machine %s", tag, got, want)
		}
	}
	if result := w.join(parts); result.Err != nil || result.Action != "none" {
		t.Errorf("joined twice: %+v, want nothing to do", result)
	}
	w.tidy()
}

func (w *world) system(name string) config.System {
	w.t.Helper()
	system, err := config.ParseSystem(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return system
}

func (w *world) part(system string) cycle.Part {
	w.t.Helper()
	f := w.open()
	defer f.Store.Close()
	parts, err := f.BuildParts(w.t.Context(), release, "", w.system(system))
	if err != nil {
		w.t.Fatal(err)
	}
	if parts[0].Err != nil {
		w.t.Fatal(parts[0].Err)
	}
	return parts[0]
}

func (w *world) join(parts []cycle.Part) cycle.Result {
	w.t.Helper()
	f := w.open()
	defer f.Store.Close()
	return f.Join(w.t.Context(), parts)
}

func TestPatience(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.setHead(release, "shared")
	w.config.Verify = []string{"false"}
	f := w.open()
	defer f.Store.Close()
	cycle := func(want string) {
		t.Helper()
		results, err := f.Cycle(t.Context(), cycle.Options{Patient: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, w.outcome(results)); diff != "" {
			t.Errorf("the cycle ended otherwise (-want +got):\n%s", diff)
		}
	}
	cycle(release + ": failed")
	cycle(release + ": none (waiting after a failure)")
	w.now = w.now.Add(3 * time.Minute)
	cycle(release + ": failed")
	w.now = w.now.Add(3 * time.Minute) // the second time it waits for longer
	cycle(release + ": none (waiting after a failure)")
	w.setHead(release, "release-doc") // another commit may well succeed
	cycle(release + ": failed")
	f.Config.Verify = nil
	w.now = w.now.Add(time.Hour)
	cycle(release + ": build (new commit)")
}
