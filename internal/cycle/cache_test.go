package cycle_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// once breaks the first answer to a path: send gets what the answer would be.
// The returned function tells whether that happened.
func (w *world) once(match func(path string) bool, send func(http.ResponseWriter, *http.Request, []byte)) func() bool {
	var done atomic.Bool
	w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		if !match(r.URL.Path) || r.Header.Get("X-Inner") != "" || !done.CompareAndSwap(false, true) {
			return false
		}
		req, err := http.NewRequestWithContext(r.Context(), "GET", w.upstream.URL()+r.URL.Path, nil)
		if err != nil {
			panic(err)
		}
		req.Header.Set("X-Inner", "1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			panic(err)
		}
		for _, name := range []string{"ETag", "Last-Modified", "Content-Type"} {
			if value := resp.Header.Get(name); value != "" {
				rw.Header().Set(name, value)
			}
		}
		send(rw, r, data)
		return true
	})
	return done.Load
}

// A cache that fails in the middle of a NAR, once, costs a repetition.
func TestNARFailsOnce(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"cut off": func(w http.ResponseWriter, _ *http.Request, data []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
		},
		"stalls": func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
			http.NewResponseController(w).Flush()
			<-r.Context().Done() // for as long as the factory waits
		},
		"throttles":     func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusTooManyRequests) },
		"sends garbage": func(w http.ResponseWriter, _ *http.Request, data []byte) { w.Write(flip(data, len(data)/2)) },
		"says 503":      func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusServiceUnavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, settings{channels: onlyRelease})
			v.stall = 2 * time.Second
			broke := v.once(func(path string) bool { return path == "/cache/"+v.info.URL }, send)
			v.expect(release + ": build (new commit)")
			if !broke() {
				t.Error("nothing broke")
			}
			v.tidy()
		})
	}
}

// below returns the digests of all layers but the topmost.
func below(t *testing.T, img v1.Image) []v1.Hash {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var digests []v1.Hash
	for _, l := range manifest.Layers[:len(manifest.Layers)-1] {
		digests = append(digests, l.Digest)
	}
	return digests
}

// A cache that is down is passed over if the next one has everything; a path
// that only the second one has is taken from there.
func TestSeveralCaches(t *testing.T) {
	t.Parallel()
	other := nixtest.NewSecretKey("other-1", [32]byte{2})
	for name, send := range map[string]http.HandlerFunc{
		"empty":         http.NotFound,
		"not for us":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"signs nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, settings{channels: onlyRelease})
			first := v.expect(release + ": build (new commit)")
			v2 := newVictim(t, settings{
				channels: onlyRelease,
				caches:   fmt.Sprintf("- { url: http://127.0.0.1:1/first, keys: [ %q ] }\n", other.Public()),
			})
			v2.config.Substituters[0].URL = v2.upstream.URL() + "/first"
			v2.upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
				rest, ok := strings.CutPrefix(r.URL.Path, "/first/")
				switch {
				case !ok:
					return false
				case send != nil:
					send(w, r)
				default: // the same objects, whose signatures count in the other cache only
					http.ServeFile(w, r, filepath.Join(v2.fixture.CacheFolder(), filepath.FromSlash(rest)))
				}
				return true
			})
			second := v2.expect(release + ": build (new commit)")
			// The trusted keys are part of the recipe, which the topmost layer names.
			if diff := cmp.Diff(below(t, v.image(release, first[0].Rev.String())), below(t, v2.image(release, second[0].Rev.String()))); diff != "" {
				t.Errorf("layers with one cache, and with two (-one +two):\n%s", diff)
			}
		})
	}
}
