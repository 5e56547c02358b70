package cycle_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// sends closes the channel when n blobs were sent to a registry to their end.
func (w *world) sends(n int) <-chan struct{} {
	reached := make(chan struct{})
	var mu sync.Mutex
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method != "PUT" || !strings.Contains(r.URL.Path, "/blobs/uploads/") {
			return nil, nil
		}
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			close(reached)
		}
		return nil, nil
	})
	return reached
}

// toRegistry publishes the release channel into a registry of its own.
func toRegistry(t testing.TB) settings {
	return settings{channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}}
}

// Layers are in the registry while another one cannot be made yet: its NAR comes
// only then.
func TestLayersAreSentWhileOthersAreMade(t *testing.T) {
	t.Parallel()
	v := newVictim(t, toRegistry(t))
	sent := v.sends(5)
	name := filepath.Base(v.info.URL)
	data, err := os.ReadFile(filepath.Join(v.fixture.CacheFolder(), "nar", name))
	if err != nil {
		t.Fatal(err)
	}
	v.answers("nar/"+name, func(rw http.ResponseWriter, _ *http.Request) {
		select {
		case <-sent:
			if v.wire.count("PUT", "/manifests/") > 0 {
				t.Error("there is a manifest before all layers are made")
			}
			rw.Write(data)
		case <-time.After(time.Minute): // as long as it takes a stalled download to be given up
			t.Error("no layers were sent while one could not be made")
		}
	})
	results := v.expect(release + ": build (new commit)")
	// The first three are asked for, eight on their way meanwhile, and the configuration;
	// and nothing is asked for again, or sent again, at the end.
	asked, sentOnes := v.wire.count("HEAD", "/blobs/"), v.wire.count("PUT", "/blobs/uploads/")
	if layers := results[0].Stats.Layers; asked > 12 || sentOnes != layers+1 {
		t.Errorf("%d blobs were asked for, and %d sent, of an image of %d layers", asked, sentOnes, layers)
	}
}

// What is wrong with the last NAR is found when most layers are in the registry. No
// manifest names them, no tag leads there.
func TestBrokenNARAfterLayersWereSent(t *testing.T) {
	t.Parallel()
	v := newVictim(t, toRegistry(t))
	good := []byte(item("nix-archive-1", "(", "type", "regular", "contents", "good", ")"))
	bad := []byte(item("nix-archive-1", "(", "type", "regular", "contents", "evil", ")"))
	removeInfo := v.promises(t, "none", good)
	sent := v.sends(5)
	removeNAR := v.answers(hostileURL, func(rw http.ResponseWriter, _ *http.Request) {
		waitFor(t, "five layers in the registry", sent)
		rw.Write(bad)
	})
	results := v.expect(release + ": failed")
	contains(t, "error", results[0].Error, v.path.Base(), nix.Hash(sha256.Sum256(good)).String())
	if n := v.wire.count("PUT", "/manifests/"); n != 0 {
		t.Errorf("%d manifests were sent of an image that is not whole", n)
	}
	for _, tag := range []string{v.upstream.Head(release), "latest"} {
		if got := v.tag(0, release, tag); got != "" {
			t.Errorf("the tag %s is %s, want none", tag, got)
		}
	}
	v.tidy()
	v.wire.fails(nil)
	removeInfo()
	removeNAR()
	v.wire.forget()
	v.expect(release + ": build (new commit)")
	if n := v.wire.count("PUT", "/blobs/uploads/"); n > 25 {
		t.Errorf("%d blobs were sent again", n)
	}
}

// A registry that refuses a layer ends the work at once: while that waits for a NAR
// that never comes.
func TestRefusedLayerEndsTheWork(t *testing.T) {
	t.Parallel()
	v := newVictim(t, toRegistry(t))
	v.wire.fails(func(r *http.Request) (*http.Response, error) {
		if sendsBlob(r) {
			return answer(r, http.StatusForbidden), nil
		}
		return nil, nil
	})
	v.answers("nar/"+filepath.Base(v.info.URL), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	results := v.expect(release + ": failed")
	contains(t, "error", results[0].Error, "publish: 127.0.0.1:", "nixpkgs-"+release+":"+v.upstream.Head(release), "status 403, says the test")
	if strings.Contains(results[0].Error, "layers: ") || strings.Contains(results[0].Error, context.Canceled.Error()) {
		t.Errorf("the error tells of something else: %s", results[0].Error)
	}
	v.tidy()
}

// A channel that moves without new tools takes no NAR and makes two layers, also
// when the state is lost.
func TestMoveWithoutNewTools(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"known": false, "state lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, toRegistry(t))
			w.setHead(release, "shared")
			w.expect(release + ": build (new commit)")
			w.setHead(release, "release-doc")
			if lost {
				if err := os.Remove(w.config.State); err != nil {
					t.Fatal(err)
				}
			}
			w.mark()
			results := w.expect(release + ": build (new commit)")
			if n := len(w.asked()["nar"]); n != 0 {
				t.Errorf("%d NARs were asked for", n)
			}
			if s := results[0].Stats; s.Layers-s.ReusedLayers != 2 {
				t.Errorf("%d of %d layers were made, want the source and the root file system", s.Layers-s.ReusedLayers, s.Layers)
			}
			if n := w.wire.count("PUT", "/blobs/uploads/"); n != 3 {
				t.Errorf("%d blobs were sent, want these two and the configuration", n)
			}
		})
	}
}

// sendsBlob tells whether a request brings a blob, or the first part of one.
func sendsBlob(r *http.Request) bool {
	return (r.Method == "PUT" || r.Method == "PATCH") && strings.Contains(r.URL.Path, "/blobs/uploads/")
}

// Whatever ends a cycle, nothing of it goes on. (Not parallel: it looks at all
// goroutines.)
func TestNothingGoesOn(t *testing.T) {
	w := newWorld(t, toRegistry(t))
	for name, fault := range map[string]func(cancel func(), r *http.Request) (*http.Response, error){
		"a layer is refused": func(_ func(), r *http.Request) (*http.Response, error) {
			if sendsBlob(r) {
				return answer(r, http.StatusForbidden), nil
			}
			return nil, nil
		},
		"stopped while a layer is sent": func(cancel func(), r *http.Request) (*http.Response, error) {
			if sendsBlob(r) {
				cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return nil, nil
		},
		"stopped while earlier images are looked for": func(cancel func(), r *http.Request) (*http.Response, error) {
			if r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
				cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return nil, nil
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w.wire.fails(func(r *http.Request) (*http.Response, error) { return fault(cancel, r) })
		if results := w.cycleIn(ctx); len(results) != 1 || results[0].Err == nil {
			t.Errorf("%s: %+v", name, results)
		}
		cancel()
		for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
			left := working()
			if left == "" {
				break
			}
			if time.Now().After(deadline) { // what was told to end has long ended
				t.Fatalf("%s: something goes on:\n%s", name, left)
			}
		}
		w.tidy()
	}
	w.wire.fails(nil)
	w.expect(release + ": build (new commit)")
}

// working returns the goroutines that carry out a part of a cycle.
func working() string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for _, g := range strings.Split(string(stacks), "\n\n") {
		frames, _, _ := strings.Cut(g, "\ncreated by ")
		for _, part := range []string{"internal/cycle.", "internal/layers.", "internal/closure.", "internal/reuse.", "internal/registry.(*remote"} {
			if strings.Contains(frames, part) && !strings.Contains(frames, "testing.tRunner(") { // tests that wait for their turn
				found = append(found, g)
				break
			}
		}
	}
	return strings.Join(found, "\n\n")
}

// The disk need not hold all layers of an image: those that were sent are gone when
// the manifests are sent.
func TestSentLayersAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toRegistry(t))
	var left []string
	var once sync.Once
	w.wire.fails(func(r *http.Request) (*http.Response, error) {
		if r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") {
			once.Do(func() {
				for _, file := range files(t, w.config.Cache) {
					if len(filepath.Base(file)) == sha256.Size*2 {
						left = append(left, file)
					}
				}
			})
		}
		return nil, nil
	})
	w.expect(release + ": build (new commit)")
	if len(left) != 1 { // what is looked at before a tag leads there
		t.Errorf("layers on the disk: %v, want the root file system", left)
	}
}

// A registry that loses a layer between its upload and the manifest has it made again,
// although nothing of it is on the disk any more.
func TestSentLayerIsLost(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"docker-registry", "layout"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, dir := toRegistry(t), filepath.Join(t.TempDir(), "registry")
			host, _, _ := strings.Cut(s.publish[0], "/")
			if kind == "layout" {
				s.publish = []string{"oci:" + dir}
			}
			w := newWorld(t, s)
			var gone sync.Once
			w.wrap = func(repo registry.Repository) registry.Repository {
				return forgetful{repo, func(pushed []v1.Hash) {
					gone.Do(func() {
						switch {
						case len(pushed) == 0:
							t.Error("no layer was pushed before the image is")
						case kind == "layout":
							if err := os.Remove(filepath.Join(dir, "blobs/sha256", pushed[0].Hex)); err != nil {
								t.Error(err)
							}
						default:
							w.removed(host, "blobs", pushed[0])
						}
					})
				}}
			}
			w.expect(release + ": build (new commit)")
			if n := w.lost("latest"); n != 0 {
				t.Errorf("%d parts of the image are not there", n)
			}
			contains(t, "log", w.log.text(), "a layer is lost")
		})
	}
}

// forgetful is a repository that may lose something before an image is pushed.
type forgetful struct {
	registry.Repository
	lose func(pushed []v1.Hash)
}

func (f forgetful) Push(ctx context.Context, index v1.ImageIndex, pushed ...v1.Hash) error {
	f.lose(pushed)
	return f.Repository.Push(ctx, index, pushed...)
}
