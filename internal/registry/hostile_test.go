package registry

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
)

// hostileAt is a registry with a token service that misbehaves in one place,
// once it has been told to.
type hostileAt struct {
	backend  http.Handler
	bad      http.HandlerFunc
	at       func(*http.Request) bool
	on       atomic.Bool
	requests atomic.Int64
}

func (h *hostileAt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.on.Load() {
		h.requests.Add(1)
		if h.at(r) {
			h.bad(w, r)
			return
		}
	}
	switch {
	case r.URL.Path == "/token":
		io.WriteString(w, `{"token":"good"}`)
	case r.Header.Get("Authorization") != "Bearer good":
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.backend.ServeHTTP(w, r)
	}
}

// Whatever a registry does, wherever it does it: an error, soon, after few
// requests. Where only the status of an answer matters, its body is no error.
func TestHostileRegistry(t *testing.T) {
	match := func(method, part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
	}
	quiet := []string{fetchtest.Silent, fetchtest.Deaf, fetchtest.HeaderDrips, fetchtest.Circle}
	places := []struct {
		name  string
		at    func(*http.Request) bool
		kinds []string
	}{
		{"ping", func(r *http.Request) bool { return r.URL.Path == "/v2/" }, quiet[:3]},
		{"token", func(r *http.Request) bool { return r.URL.Path == "/token" }, fetchtest.Kinds},
		{"question for a manifest", match("HEAD", "/manifests/"), quiet},
		{"manifest", match("GET", "/manifests/"), fetchtest.Kinds},
		{"blob", match("GET", "/blobs/"), fetchtest.Kinds},
		{"question for a blob", match("HEAD", "/blobs/"), quiet},
		{"begin of an upload", match("POST", "/blobs/"), fetchtest.Kinds},
		{"upload", match("PUT", "/blobs/"), quiet},
		{"upload by two requests", match("PATCH", "/blobs/"), fetchtest.Kinds},
		{"end of an upload", match("PUT", "/blobs/"), quiet},
		{"push of a manifest", match("PUT", "/manifests/"), fetchtest.Kinds},
	}
	for _, place := range places {
		for _, kind := range fetchtest.Kinds {
			if place.name != "ping" && place.name != "upload" && place.name != "end of an upload" && !slices.Contains(place.kinds, kind) {
				continue
			}
			t.Run(place.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				bad := &hostileAt{
					backend: fake.New(fake.Logger(log.New(io.Discard, "", 0))),
					bad:     fetchtest.Hostile(t, kind), at: place.at,
				}
				server := httptest.NewServer(bad)
				defer server.Close()
				there := randomIndex(t)
				o := Options{}
				if place.name == "upload by two requests" || place.name == "end of an upload" {
					o.Whole = -1
				}
				repo := asUser(t, server.URL, o)
				if err := errorOf(repo.Push(t.Context(), there), repo.Tag(t.Context(), there, "tag")); err != nil {
					t.Fatal(err)
				}
				bad.on.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				limits := fetchtest.Limits()
				limits.Bound = Bound
				wanted := slices.Contains(place.kinds, kind)
				if !wanted { // a machine that is busy is no hostile one
					limits.Stall, limits.Answer = 5*time.Second, 5*time.Second
				}
				o.Transport = fetch.Guard(nil, limits)
				err := everything(ctx, asUser(t, server.URL, o), randomIndex(t))
				if (err != nil) != wanted || ctx.Err() != nil {
					t.Errorf("error %v, want one: %t", err, wanted)
				}
				if n := bad.requests.Load(); n > 200 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

// A redirect to another host, or another port of the same, takes nobody's credentials along.
func TestCredentialsStayAtTheRegistry(t *testing.T) {
	for _, at := range []string{"/token", "/manifests/", "/blobs/"} {
		t.Run(at, func(t *testing.T) {
			var asked, leaked atomic.Int64
			elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Header.Get("Authorization") != "" {
					leaked.Add(1)
				}
				w.WriteHeader(http.StatusNotFound)
			}))
			defer elsewhere.Close()
			away := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
			bad := &hostileAt{
				backend: fake.New(fake.Logger(log.New(io.Discard, "", 0))),
				at:      func(r *http.Request) bool { return strings.Contains(r.URL.Path, at) },
				bad: func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, away+r.URL.Path, http.StatusTemporaryRedirect)
				},
			}
			server := httptest.NewServer(bad)
			defer server.Close()
			there := randomIndex(t)
			repo := asUser(t, server.URL, Options{})
			if err := errorOf(repo.Push(t.Context(), there), repo.Tag(t.Context(), there, "tag")); err != nil {
				t.Fatal(err)
			}
			for _, away = range []string{away, elsewhere.URL} {
				bad.on.Store(true)
				if err := everything(t.Context(), asUser(t, server.URL, Options{}), randomIndex(t)); err == nil {
					t.Error("no error")
				}
			}
			if asked.Load() == 0 || leaked.Load() != 0 {
				t.Errorf("%d requests elsewhere, %d with credentials", asked.Load(), leaked.Load())
			}
		})
	}
}

// asUser opens a repository of a registry on this machine, with credentials.
func asUser(t *testing.T, url string, o Options) Repository {
	t.Helper()
	repo, err := name.NewRepository(strings.TrimPrefix(url, "http://") + "/org/x")
	if err != nil {
		t.Fatal(err)
	}
	o.Keychain, o.Backoff = authn.NewMultiKeychain(anybody{}), time.Millisecond
	r, err := Remote(repo, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type anybody struct{}

func (anybody) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{Username: "u", Password: "p"}), nil
}

// everything asks a registry for all that a cycle asks it for.
func everything(ctx context.Context, repo Repository, fresh v1.ImageIndex) error {
	if _, err := repo.Digest(ctx, "tag"); err != nil {
		return err
	}
	index, err := repo.Index(ctx, "tag")
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	stack, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range stack {
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, content)
		content.Close()
		if err != nil {
			return err
		}
	}
	return errorOf(repo.Push(ctx, fresh), repo.Tag(ctx, fresh, "fresh"))
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
