package cycle_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// Ctrl-C in the middle of a build: the program says so, ends at once, and leaves
// nothing that is unfinished. The channel has not failed.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	reached, free := w.holds(aNAR)
	p := w.command(nil, "run", "--once", "--output", "json")
	p.start(t)
	waitFor(t, "first NAR", reached)
	if len(list(t, w.config.Cache)) == 0 {
		t.Error("a build is going on, and there is no work folder")
	}
	p.Process.Signal(os.Interrupt)
	if code := p.ends(t, 10*time.Second); code != 130 {
		t.Errorf("exit code %d, want 130\n%s", code, &p.stderr)
	}
	contains(t, "stderr", p.stderr.String(), "stopped")
	free()
	w.tidy()
	if _, err := os.Stat(filepath.Join(w.config.Publish[0].Layout, "index.json")); !os.IsNotExist(err) {
		t.Errorf("after an interrupted build the layout has an index (%v)", err)
	}
	w.forgiven(release)
	w.forgiven(unstable)
	w.expect(release+": build (new commit)", unstable+": build (new commit)")
	w.tidy()
}

// Wherever a cycle is cancelled, it ends and leaves nothing unfinished.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	for name, match := range map[string]func(string) bool{
		"head":    func(p string) bool { return strings.Contains(p, "/branches/") },
		"archive": func(p string) bool { return strings.HasPrefix(p, "/codeload/") },
		"narinfo": func(p string) bool { return strings.HasSuffix(p, ".narinfo") },
		"NAR":     aNAR,
	} {
		reached, free := w.holds(match)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-reached
			cancel()
		}()
		start := time.Now()
		for _, r := range w.cycleIn(ctx) {
			if r.Err == nil || !errors.Is(r.Err, context.Canceled) {
				t.Errorf("%s: error %v, want %v", name, r.Err, context.Canceled)
			}
		}
		if took := time.Since(start); ctx.Err() == nil || took > 30*time.Second {
			t.Errorf("%s: cancelled: %v, took %s", name, ctx.Err(), took)
		}
		free()
		w.tidy()
		w.forgiven(release)
	}
	w.expect(release + ": build (new commit)")
}

// A registry that does not answer does not keep a cycle from being cancelled,
// whatever it is asked.
func TestCancelWhileARegistryStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	stalls := func(name string, match func(*http.Request) bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.wire.fails(func(r *http.Request) (*http.Response, error) {
			if !match(r) {
				return nil, nil
			}
			cancel()
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})
		for _, r := range w.cycleIn(ctx) {
			if !errors.Is(r.Err, context.Canceled) {
				t.Errorf("%s: error %v, want %v", name, r.Err, context.Canceled)
			}
		}
		w.wire.fails(nil)
		if ctx.Err() == nil {
			t.Errorf("%s was not asked for", name)
		}
		w.tidy()
		w.forgiven(release)
	}
	in := func(method, part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
	}
	stalls("the commit's tag", in("HEAD", "/manifests/"))
	stalls("whether one may push", in("POST", "/blobs/uploads/"))
	stalls("an earlier image", in("GET", "/manifests/latest"))
	stalls("a blob", in("HEAD", "/blobs/"))
	stalls("a tag", func(r *http.Request) bool {
		return r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "/sha256:")
	})
	w.expect(release + ": build (new commit)")
	w.now = w.now.Add(24 * time.Hour)
	stalls("what is below the tag", in("HEAD", "/blobs/"))
	w.expect(release + ": none (up to date)")
}

// A push that is cancelled leaves no tag.
func TestCancelPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}, channels: onlyRelease})
	ctx, cancel := context.WithCancel(t.Context())
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method == "PUT" {
			cancel()
		}
		return nil, nil
	})
	for _, r := range w.cycleIn(ctx) {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("error %v, want %v", r.Err, context.Canceled)
		}
	}
	w.wire.fails(nil)
	if got := w.tag(0, release, w.upstream.Head(release)); ctx.Err() == nil || got != "" {
		t.Errorf("cancelled: %v; the commit's tag is %q, want none", ctx.Err(), got)
	}
	w.tidy()
	w.forgiven(release)
	w.expect(release + ": build (new commit)")
}

// A full disk is told as what it is, wherever it is full, and nothing is published.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"work", "registry"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{channels: onlyRelease})
			full := filepath.Join(w.dir, folder)
			if err := os.Mkdir(full, 0o755); err != nil {
				t.Fatal(err)
			}
			namespace := []string{"unshare", "--mount", "--propagation", "private"}
			if os.Geteuid() != 0 {
				namespace = append(namespace, "--user", "--map-root-user")
			}
			const script = `mount -t tmpfs -o size=128k full "$0" && "$@"; code=$?; find "$0" -name 'build-*' -o -name '*unfinished*' -o -name index.json | sed 's/^/left: /'; exit $code`
			p := w.command(append(namespace, "sh", "-c", script, full), "run", "--once", "--output", "json")
			p.start(t)
			if code := p.ends(t, time.Minute); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			contains(t, "stderr", p.stderr.String(), "no space left on device")
			if strings.Contains(p.stdout.String(), "left: ") {
				t.Errorf("something is left: %s", &p.stdout)
			}
			w.expect(release + ": build (new commit)")
		})
	}
}

// What a killed build leaves is cleaned up by the next one.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	reached, free := w.holds(aNAR)
	p := w.command(nil, "run", "--once")
	p.start(t)
	waitFor(t, "first NAR", reached)
	p.Process.Kill()
	p.ends(t, 10*time.Second)
	free()
	if len(list(t, w.config.Cache)) != 1 {
		t.Fatalf("a killed build left %v, want a work folder", list(t, w.config.Cache))
	}
	w.expect(release + ": build (new commit)")
	w.tidy()
}

// A process that was killed while it wrote into a layout leaves a file that
// nobody will ever finish.
func TestKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	blobs := filepath.Join(w.config.Publish[0].Layout, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	for _, file := range []string{filepath.Join(blobs, ".unfinished-123"), filepath.Join(w.config.Publish[0].Layout, ".unfinished-456")} {
		if err := os.WriteFile(file, []byte("half a blob"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(release + ": build (new commit)")
	w.tidy()
}
