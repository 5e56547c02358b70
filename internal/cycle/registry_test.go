package cycle_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

const onlyRelease = "[ { name: nixos-26.05, tags: [ latest ] } ]"

// A registry that cannot be asked is no reason to build, and none to write over
// what may be there: not even when the recipe changed.
func TestRegistryThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	image := copyImage(t)
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, image: image, channels: onlyRelease})
	first := w.expect(release + ": build (new commit)")
	appendTo(t, filepath.Join(image, "rootfs/etc/profile"), "# another line\n")

	refused := &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){
		"401":     func(r *http.Request) (*http.Response, error) { return answer(r, 401), nil },
		"403":     func(r *http.Request) (*http.Response, error) { return answer(r, 403), nil },
		"500":     func(r *http.Request) (*http.Response, error) { return answer(r, 500), nil },
		"503":     func(r *http.Request) (*http.Response, error) { return answer(r, 503), nil },
		"refused": func(r *http.Request) (*http.Response, error) { return nil, refused },
		"401 for manifests": func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				return answer(r, 401), nil
			}
			return nil, nil
		},
	} {
		w.wire.fails(fault)
		w.mark()
		results := w.expect(release + ": failed")
		if asked := w.asked(); len(asked["archive"])+len(asked["nar"]) > 0 {
			t.Errorf("%s: the upstream was asked for %v", name, asked)
		}
		for _, method := range []string{"PUT", "POST", "PATCH", "DELETE"} {
			if n := w.wire.count(method, "/"); n > 0 {
				t.Errorf("%s: %d %s requests to the registry", name, n, method)
			}
		}
		contains(t, name, results[0].Error, strings.Fields(name)[0], w.config.Publish[0].To)
		// With another digest on record the manifest itself is read: the same.
		if results[0].Action != "none" || len(results[0].Published) != 0 && results[0].Published[0].Digest.String() != "" {
			t.Errorf("%s: result %+v, want no action and nothing published", name, results[0])
		}
	}
	w.wire.fails(nil)
	w.client = nil // the last one may have been told that the registry speaks TLS
	if got := w.tag(0, release, first[0].Rev.String()); got != first[0].Published[0].Digest.String() {
		t.Errorf("the tag became %s, want %s", got, first[0].Published[0].Digest.String())
	}
	w.expect(release + ": rebuild (recipe changed)")
	w.forgiven(release)
}

// A failure is over when the channel is found up to date, without a build.
func TestFailureIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	w.expect(release + ": build (new commit)")
	w.wire.fails(func(r *http.Request) (*http.Response, error) { return answer(r, 403), nil })
	w.expect(release + ": failed")
	w.wire.fails(nil)
	w.expect(release + ": none (up to date)")
	w.forgiven(release)
}

// Wherever a push breaks off, no tag is on a half-made image, and the next cycle
// goes on from what has arrived.
func TestPushBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	rev := w.upstream.Head(release)
	for _, step := range []struct {
		name    string
		breaks  func(*http.Request) bool
		commit  bool // the commit's tag is there already
		reasons string
	}{
		{"asking for a blob", func(r *http.Request) bool { return r.Method == "HEAD" && strings.Contains(r.URL.Path, "/blobs/") }, false, "build (new commit)"},
		{"beginning an upload", func(r *http.Request) bool { return r.Method == "POST" }, false, "build (new commit)"},
		{"ending an upload", func(r *http.Request) bool { return r.Method == "PUT" && strings.Contains(r.URL.Path, "/blobs/") }, false, "build (new commit)"},
		{"manifests", func(r *http.Request) bool {
			return r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/sha256:")
		}, false, "build (new commit)"},
		{"the commit's tag", func(r *http.Request) bool {
			return r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/manifests/"+rev)
		}, false, "build (new commit)"},
		{"the moving tag", func(r *http.Request) bool {
			return r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/manifests/latest")
		}, true, "none (up to date)"},
	} {
		w.wire.fails(func(r *http.Request) (*http.Response, error) {
			if step.breaks(r) {
				return answer(r, 500), nil
			}
			return nil, nil
		})
		results := w.expect(release + ": failed")
		contains(t, step.name, results[0].Error, "500", w.config.Publish[0].To)
		w.wire.fails(nil)
		if got := w.tag(0, release, rev); (got != "") != step.commit {
			t.Errorf("broke off at %s: the commit's tag is %q, want it there: %t", step.name, got, step.commit)
		}
		if got := w.tag(0, release, "latest"); got != "" {
			t.Errorf("broke off at %s: latest is %q, want none", step.name, got)
		}
		w.tidy()
	}
	w.mark()
	results := w.expect(release + ": none (up to date)")
	if got := w.tag(0, release, "latest"); got == "" || got != results[0].Published[0].Digest.String() {
		t.Errorf("latest is %q, want %s", got, results[0].Published[0].Digest.String())
	}
	if n := w.wire.count("POST", "/blobs/"); n > 0 {
		t.Errorf("%d uploads begun for a tag only", n)
	}
	w.forgiven(release)
}
