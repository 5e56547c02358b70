package registry

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// everywhere are repositories of every kind.
func everywhere(t *testing.T) map[string]Repository {
	odd := &registrytest.Odd{}
	return map[string]Repository{"registry": openAt(t, odd.Serve(t)+"/app", Options{}), "layout": Layout(t.TempDir(), "app")}
}

// TestImage pushes an image in parts, as those do that make its layers one by one.
func TestImage(t *testing.T) {
	img, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.MediaType(img, types.OCIManifestSchema1)
	for name, repo := range everywhere(t) {
		if _, err := repo.Describe(t.Context(), "main"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: Describe() = %v, want ErrNotFound", name, err)
		}
		for _, want := range []Outcome{Sent, Present} {
			for _, part := range pieces(t, img) {
				if got, err := part(t.Context(), repo); err != nil || got != want {
					t.Errorf("%s: %s, %v, want %s", name, got, err, want)
				}
			}
		}
		if err := repo.Tag(t.Context(), img, "main"); err != nil {
			t.Fatal(err)
		}
		images, root, err := Images(t.Context(), repo, "main")
		if err != nil || len(images) != 1 || digest(t, root) != digest(t, img) || digest(t, images[0]) != digest(t, img) {
			t.Errorf("%s: Images() = %v, %v, %v", name, images, root, err)
		}
		desc, err := repo.Describe(t.Context(), "main")
		if err != nil || desc.MediaType != types.OCIManifestSchema1 || desc.Digest != digest(t, img) {
			t.Errorf("%s: Describe() = %+v, %v", name, desc, err)
		}
		if missing, err := repo.Missing(t.Context(), desc.Digest); err != nil || len(missing) > 0 {
			t.Errorf("%s: Missing() = %v, %v", name, missing, err)
		}
	}
}

// pieces push layers, configuration and manifest.
func pieces(t *testing.T, img v1.Image) []func(context.Context, Repository) (Outcome, error) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		t.Fatal(err)
	}
	var list []func(context.Context, Repository) (Outcome, error)
	for _, l := range append(layers, config) {
		list = append(list, func(ctx context.Context, r Repository) (Outcome, error) { return r.PushBlob(ctx, l) })
	}
	return append(list, func(ctx context.Context, r Repository) (Outcome, error) { return r.PushManifest(ctx, img) })
}

func digest(t *testing.T, m Manifest) v1.Hash {
	t.Helper()
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}
