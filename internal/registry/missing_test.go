package registry

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// parts are the digests of an index and of what is below it, by what they are.
func parts(t *testing.T, index v1.ImageIndex) map[string]v1.Hash {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	child := manifest.Manifests[0].Digest
	img, err := index.Image(child)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]v1.Hash{"index": digestOf(t, index), "manifest": child, "configuration": m.Config.Digest, "layer": m.Layers[1].Digest}
}

// stocked is a repository from which things can be deleted.
type stocked struct {
	open   func() Repository
	remove func(what string, digest v1.Hash) error
}

// stockedRepositories are one of each kind.
func stockedRepositories(t *testing.T) map[string]stocked {
	host := registrytest.Start(t, registrytest.Options{})
	dir := filepath.Join(t.TempDir(), "registry")
	return map[string]stocked{
		"layout": {
			func() Repository { return Layout(dir, "nixpkgs-x") },
			func(_ string, digest v1.Hash) error {
				return os.Remove(filepath.Join(dir, "blobs/sha256", digest.Hex))
			},
		},
		"docker-registry": {
			func() Repository { return remoteAt(t, host+"/org/nixpkgs-x", nil) },
			func(what string, digest v1.Hash) error {
				kind := "blobs"
				if what == "index" || what == "manifest" {
					kind = "manifests"
				}
				return remove(host, kind, digest)
			},
		},
	}
}

// What is deleted below an index is missed, and the next push sends it.
func TestMissingIsFoundAndSentAgain(t *testing.T) {
	for kind, k := range stockedRepositories(t) {
		index := randomIndex(t)
		want := parts(t, index)
		if got, err := k.open().Missing(t.Context(), want["index"]); err != nil || !slices.Equal(got, []v1.Hash{want["index"]}) {
			t.Errorf("%s: Missing() before the push = %v, %v, want the index", kind, got, err)
		}
		if err := k.open().Push(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		for what, digest := range want {
			if got, err := k.open().Missing(t.Context(), want["index"]); err != nil || len(got) > 0 {
				t.Errorf("%s: Missing() of what is whole = %v, %v", kind, got, err)
			}
			if err := k.remove(what, digest); err != nil {
				t.Fatalf("%s: remove the %s: %v", kind, what, err)
			}
			got, err := k.open().Missing(t.Context(), want["index"])
			if err != nil || !slices.Equal(got, []v1.Hash{digest}) {
				t.Errorf("%s: Missing() without the %s = %v, %v, want %v", kind, what, got, err, digest)
			}
			if err := k.open().Push(t.Context(), index); err != nil {
				t.Errorf("%s: pushed again without the %s: %v", kind, what, err)
			}
		}
	}
}

// A layer that was pushed is sent again where it is lost before the manifest comes,
// though the caller says that it is there.
func TestPushedLayerIsLost(t *testing.T) {
	for kind, k := range stockedRepositories(t) {
		index, repo := randomIndex(t), k.open()
		want := parts(t, index)
		img, err := index.Image(want["manifest"])
		if err != nil {
			t.Fatal(err)
		}
		layer, err := img.LayerByDigest(want["layer"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.PushBlob(t.Context(), layer); err != nil {
			t.Fatal(err)
		}
		if err := k.remove("layer", want["layer"]); err != nil {
			t.Fatal(err)
		}
		if err := repo.Push(t.Context(), index, want["layer"]); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if got, err := repo.Missing(t.Context(), want["index"]); err != nil || len(got) > 0 {
			t.Errorf("%s: Missing() = %v, %v", kind, got, err)
		}
	}
}

// remove deletes something from a registry, as its clean-up would.
func remove(host, kind string, digest v1.Hash) error {
	req, err := http.NewRequest(http.MethodDelete, "http://"+host+"/v2/org/nixpkgs-x/"+kind+"/"+digest.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return errors.New(resp.Status)
	}
	return nil
}

func TestCanPush(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
	if err := remoteAt(t, host+"/org/nixpkgs-x", nil).CanPush(t.Context()); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "registry")
	if err := Layout(dir, "nixpkgs-x").CanPush(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(dir + "/blobs/sha256/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if left, _ := filepath.Glob(dir + "/blobs/sha256/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Layout(file, "nixpkgs-x").CanPush(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("CanPush() to a file = %v, want an error that names it", err)
	}
}
