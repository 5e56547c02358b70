package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

func TestPull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	server := httptest.NewServer(Handler(dir))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	index, err := random.Index(1024, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Index(ref(t, host+"/nixpkgs-x:one")); err == nil {
		t.Error("an empty layout has an image")
	}
	repo := registry.Layout(dir, "nixpkgs-x")
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Index(ref(t, host+"/nixpkgs-x@"+digest.String())); err != nil {
		t.Errorf("by digest, before there is a tag: %v", err)
	}
	for _, tag := range []string{"one", "two"} {
		if err := repo.Tag(t.Context(), index, tag); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{"/nixpkgs-x:one", "/org/team/nixpkgs-x:two", "/nixpkgs-x@" + digest.String()} {
		got, err := remote.Index(ref(t, host+at))
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		if err := validate.Index(got); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, at := range []string{"/nixpkgs-x:three", "/nixpkgs-y:one"} {
		if _, err := remote.Index(ref(t, host+at)); err == nil {
			t.Errorf("%s: no error", at)
		}
	}
	tags, err := remote.List(ref(t, host+"/nixpkgs-x:one").Context())
	if err != nil || strings.Join(tags, " ") != "one two" {
		t.Errorf("tags: %v, %v", tags, err)
	}
}

func ref(t *testing.T, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v2/", 200},
		{"GET", "/v2/x/blobs/../../secret", 404},
		{"GET", "/v2/x/blobs/sha256:..%2f..%2fsecret", 404},
		{"GET", "/v2/x/blobs/sha256:../../secret", 404},
		{"GET", "/v2/x/blobs/md5:00", 400},
		{"GET", "/v2/x/blobs/sha256:" + strings.Repeat("0", 64), 404},
		{"GET", "/v2/x/manifests/sha256:" + strings.Repeat("0", 64), 404},
		{"GET", "/", 404},
		{"PUT", "/v2/x/manifests/latest", 405},
		{"POST", "/v2/x/blobs/uploads/", 405},
		{"DELETE", "/v2/x/manifests/latest", 405},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, "/", nil)
		r.URL.Path = strings.ReplaceAll(tt.path, "%2f", "/")
		Handler(dir).ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, w.Code, tt.status)
		}
		if w.Code != http.StatusOK && !strings.Contains(w.Body.String(), `"errors"`) {
			t.Errorf("%s %s: body %q, want an error of the specification", tt.method, tt.path, w.Body)
		}
	}
}

// A layout that cannot be read is not one that lacks the image.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	Handler(dir).ServeHTTP(w, httptest.NewRequest("GET", "/v2/x/manifests/latest", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", w.Code)
	}
}
