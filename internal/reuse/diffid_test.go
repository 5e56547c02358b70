package reuse_test

import (
	"log/slog"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// plain puts an image of nobody in particular under a tag.
func plain(t *testing.T, repo registry.Repository, tag string) (diffID, digest v1.Hash) {
	t.Helper()
	layer, err := random.Layer(100, types.DockerLayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PushImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(t.Context(), img, tag); err != nil {
		t.Fatal(err)
	}
	if diffID, err = layer.DiffID(); err != nil {
		t.Fatal(err)
	}
	if digest, err = layer.Digest(); err != nil {
		t.Fatal(err)
	}
	return diffID, digest
}

func TestByDiffID(t *testing.T) {
	repo := registry.Layout(t.TempDir(), "app")
	one, blob := plain(t, repo, "one")
	two, _ := plain(t, repo, "two")
	publish(t, repo, "index", "key", true)
	log := slog.New(slog.DiscardHandler)
	find := func(o reuse.Options, tags ...string) reuse.Blobs {
		return reuse.ByDiffID(t.Context(), []reuse.Place{{Repository: repo, Tags: tags}}, o)
	}
	found := find(reuse.Options{Log: log}, "none", "one", "two", "index")
	if len(found) != 4 || !found.Has(one, blob) || found.Has(two, blob) || found[two].Digest == blob {
		t.Errorf("ByDiffID() = %+v", found)
	}
	if found := find(reuse.Options{Log: log, Limit: time.Nanosecond}, "one"); len(found) != 0 {
		t.Errorf("ByDiffID() without time = %+v", found)
	}
}
