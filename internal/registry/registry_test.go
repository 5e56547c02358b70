package registry

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

func randomIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := random.Index(2048, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.IndexMediaType(index, types.OCIImageIndex)
}

func digestOf(t *testing.T, index v1.ImageIndex) v1.Hash {
	t.Helper()
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func remoteAt(t *testing.T, at string, keychain authn.Keychain) Repository {
	t.Helper()
	repo, err := name.NewRepository(at)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Remote(repo, Options{Keychain: keychain, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every kind of repository keeps the same promises.
func TestRepositories(t *testing.T) {
	kinds := map[string]func(t *testing.T) Repository{
		"layout": func(t *testing.T) Repository { return Layout(filepath.Join(t.TempDir(), "registry"), "nixpkgs-x") },
		"docker-registry": func(t *testing.T) Repository {
			return remoteAt(t, registrytest.Start(t, registrytest.Options{})+"/org/nixpkgs-x", nil)
		},
		"in process": func(t *testing.T) Repository {
			server := httptest.NewServer(fake.New(fake.Logger(log.New(io.Discard, "", 0))))
			t.Cleanup(server.Close)
			return remoteAt(t, strings.TrimPrefix(server.URL, "http://")+"/org/nixpkgs-x", nil)
		},
	}
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) { promises(t, open(t)) })
	}
}

func promises(t *testing.T, repo Repository) {
	ctx := t.Context()
	if _, err := repo.Digest(ctx, "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Digest() of an empty repository = %v, want ErrNotFound", err)
	}
	if _, err := repo.Index(ctx, "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Index() of an empty repository = %v, want ErrNotFound", err)
	}
	lone, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := lone.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PushImage(ctx, lone); err != nil {
		t.Fatal(err)
	}
	if img, err := repo.Image(ctx, digest); err != nil || validate.Image(img) != nil {
		t.Errorf("Image() of an image without an index = %v, %v, want a sound image", img, err)
	}
	index := randomIndex(t)
	if err := repo.Push(ctx, index); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Digest(ctx, "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Digest() before Tag() = %v, want ErrNotFound", err)
	}
	for _, tag := range []string{"one", "two"} {
		if err := repo.Tag(ctx, index, tag); err != nil {
			t.Fatal(err)
		}
		got, err := repo.Digest(ctx, tag)
		if err != nil || got != digestOf(t, index) {
			t.Errorf("Digest(%q) = %v, %v, want %v", tag, got, err, digestOf(t, index))
		}
	}
	back, err := repo.Index(ctx, digestOf(t, index).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(back); err != nil {
		t.Errorf("what was read back: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if img, err := repo.Image(ctx, manifest.Manifests[0].Digest); err != nil || validate.Image(img) != nil {
		t.Errorf("Image() = %v, %v, want a sound image", img, err)
	}
	if _, err := repo.Image(ctx, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Image() of a digest that is not there = %v, want ErrNotFound", err)
	}
	other := randomIndex(t)
	if err := errors.Join(repo.Push(ctx, other), repo.Tag(ctx, other, "two")); err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]v1.ImageIndex{"one": index, "two": other} {
		if got, err := repo.Digest(ctx, tag); err != nil || got != digestOf(t, want) {
			t.Errorf("after two moved: Digest(%q) = %v, %v, want %v", tag, got, err, digestOf(t, want))
		}
	}
}

// A registry that cannot be asked must never look like one that has nothing.
func TestCannotBeAskedIsNotNotFound(t *testing.T) {
	for _, status := range []int{401, 403, 429, 500, 502, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			w.WriteHeader(status)
		}))
		repo := remoteAt(t, strings.TrimPrefix(server.URL, "http://")+"/org/x", nil)
		_, digest := repo.Digest(t.Context(), "one")
		_, index := repo.Index(t.Context(), "one")
		for what, err := range map[string]error{"Digest": digest, "Index": index} {
			if err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("status %d: %s() = %v, want an error other than ErrNotFound", status, what, err)
			}
		}
		server.Close()
		if _, err := repo.Digest(t.Context(), "one"); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("no answer: Digest() = %v, want an error other than ErrNotFound", err)
		}
	}
	corrupt := t.TempDir()
	if err := os.WriteFile(filepath.Join(corrupt, "index.json"), []byte(`{"manifests": [`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Layout(corrupt, "x").Digest(t.Context(), "one"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("corrupt layout: Digest() = %v, want an error other than ErrNotFound", err)
	}
}

// A daemon keeps its repositories: a registry that was down is asked again.
func TestRegistryComesBack(t *testing.T) {
	down := true
	inner := fake.New(fake.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	repo := remoteAt(t, strings.TrimPrefix(server.URL, "http://")+"/org/x", nil)
	index := randomIndex(t)
	if _, err := repo.Digest(t.Context(), "one"); err == nil || errors.Is(err, ErrNotFound) {
		t.Fatalf("down: Digest() = %v, want an error other than ErrNotFound", err)
	}
	if err := repo.Push(t.Context(), index); err == nil {
		t.Fatal("down: Push(): no error")
	}
	down = false
	if _, err := repo.Digest(t.Context(), "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("up again: Digest() = %v, want ErrNotFound", err)
	}
	if err := errors.Join(repo.Push(t.Context(), index), repo.Tag(t.Context(), index, "one")); err != nil {
		t.Errorf("up again: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	// bcrypt of "secret"
	host := registrytest.Start(t, registrytest.Options{Htpasswd: "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"})
	index := randomIndex(t)
	good := authn.FromConfig(authn.AuthConfig{Username: "ann", Password: "secret"})
	if err := remoteAt(t, host+"/org/x", keychain{good}).Push(t.Context(), index); err != nil {
		t.Errorf("with the password: %v", err)
	}
	bad := authn.FromConfig(authn.AuthConfig{Username: "ann", Password: "wrong-secret"})
	for what, k := range map[string]authn.Keychain{"wrong password": keychain{bad}, "nobody": nil} {
		_, err := remoteAt(t, host+"/org/x", k).Digest(t.Context(), "one")
		if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "401") {
			t.Errorf("%s: Digest() = %v, want an error that says 401", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: the error shows the password: %v", what, err)
		}
	}
}

type keychain struct{ auth authn.Authenticator }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k.auth, nil }

func TestLayoutIsReadableByOthersAndNeverHalfWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	first := randomIndex(t)
	if err := errors.Join(Layout(dir, "a").Push(t.Context(), first), Layout(dir, "a").Tag(t.Context(), first, "0")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			p, err := layout.FromPath(dir)
			if err != nil {
				t.Error(err)
				return
			}
			all, err := p.ImageIndex()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := all.IndexManifest(); err != nil {
				t.Errorf("a reader saw %v", err)
				return
			}
		}
	})
	const writersN, tags = 4, 10
	for w := range writersN {
		index := randomIndex(t)
		writers.Go(func() {
			repo := Layout(dir, "repo"+string(rune('a'+w)))
			if err := repo.Push(t.Context(), index); err != nil {
				t.Error(err)
			}
			for i := range tags {
				if err := repo.Tag(t.Context(), index, "t"+string(rune('a'+i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	reader.Wait()
	manifest, err := readIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(manifest.Manifests); got != writersN*tags+1 {
		t.Errorf("%d entries, want %d: a writer lost another one's tag", got, writersN*tags+1)
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(all); err != nil {
		t.Error(err)
	}
}

// A file that was unfinished when somebody looked may be finished before they have
// its lock.
func TestLayoutIsTidiedWhileBlobsAreWritten(t *testing.T) {
	l := Layout(t.TempDir(), "x").(*layoutRepository)
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writers, others sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 200 {
				if _, err := l.putBytes(t.Context(), fmt.Appendf(nil, "%d %d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := l.begin(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	others.Wait()
	if blobs, err := os.ReadDir(l.blobs()); err != nil || len(blobs) != 800 {
		t.Errorf("%d blobs, %v, want 800", len(blobs), err)
	}
}

func TestLayoutRefusesABlobThatIsNotItsDigest(t *testing.T) {
	l := Layout(t.TempDir(), "x").(*layoutRepository)
	if err := os.MkdirAll(l.blobs(), 0o755); err != nil {
		t.Fatal(err)
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	_, err := l.put(t.Context(), digest, 3, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abc")), nil })
	if err == nil || !strings.Contains(err.Error(), digest.Hex) {
		t.Errorf("put() = %v, want an error that names %s", err, digest)
	}
	left, err := os.ReadDir(l.blobs())
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLayoutMendsADamagedBlob(t *testing.T) {
	l := Layout(t.TempDir(), "x").(*layoutRepository)
	index := randomIndex(t)
	if err := l.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(l.blobs() + "/*")
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, name := range blobs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.Push(t.Context(), index), l.Tag(t.Context(), index, "one")); err != nil {
		t.Fatal(err)
	}
	back, err := l.Index(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(back); err != nil {
		t.Errorf("pushed again, it is still damaged: %v", err)
	}
}
