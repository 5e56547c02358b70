package reuse_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

const tool = nix.StoreDir + "/00000000000000000000000000000000-tool"

// publish puts an image under a tag whose one layer below the topmost has a key.
// It returns the digest of that layer.
func publish(t *testing.T, repo registry.Repository, tag, key string, inventory bool) v1.Hash {
	t.Helper()
	below, err := random.Layer(100, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	path, err := nix.ParseStorePath(tool)
	if err != nil {
		t.Fatal(err)
	}
	files := []layers.File{{Path: "/etc/passwd", Mode: 0o644}}
	if inventory {
		data, err := json.Marshal(image.Inventory{Tools: []image.InventoryTool{{Path: path, Files: []string{"bin/" + key}}}})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, layers.File{Path: image.InventoryPath, Mode: 0o644, Data: data})
	}
	root, err := layers.Packer{Dir: t.TempDir(), Encoding: layers.Gzip}.Files(files, "root")
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: below, Annotations: map[string]string{layers.KeyAnnotation: key, layers.PathsAnnotation: path.Base()}},
		mutate.Addendum{Layer: root})
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: image.Plain{Image: img}})
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(t.Context(), index, tag); err != nil {
		t.Fatal(err)
	}
	digest, err := below.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestFind(t *testing.T) {
	path, err := nix.ParseStorePath(tool)
	if err != nil {
		t.Fatal(err)
	}
	objects := []nix.PathInfo{{Path: path}}
	want := map[nix.StorePath]bool{path: true}
	repo := registry.Layout(t.TempDir(), "images")
	lost := publish(t, repo, "first", "one", true)
	publish(t, repo, "second", "two", true)
	publish(t, repo, "third", "three", true)
	publish(t, repo, "bare", "four", false)

	earlier := func(tags ...string) func(context.Context) []string {
		return func(context.Context) []string { return tags }
	}
	tests := []struct {
		name    string
		place   reuse.Place
		options reuse.Options
		found   string // keys
		listed  string // the tool's file
		with    bool   // layers whose tools are listed
		logs    int
	}{
		{name: "nothing to read", place: reuse.Place{}},
		{name: "what is not there", place: reuse.Place{Tags: []string{"none"}}},
		{name: "all tags", place: reuse.Place{Tags: []string{"first", "none", "second"}}, found: "one two", listed: "bin/two", with: true},
		{name: "the first of the earlier ones", place: reuse.Place{Tags: []string{"first"}, Earlier: earlier("none", "second", "third")}, found: "one two", listed: "bin/two", with: true},
		{name: "a blob that is lost", place: reuse.Place{Tags: []string{"first", "second"}}, options: reuse.Options{Lost: []v1.Hash{lost}}, found: "two", listed: "bin/two", with: true},
		{name: "no inventory", place: reuse.Place{Tags: []string{"bare"}}, found: "four", logs: 1},
		{name: "no time", place: reuse.Place{Tags: []string{"first"}, Earlier: earlier("second")}, options: reuse.Options{Limit: time.Nanosecond}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var logged strings.Builder
			test.place.Repository = repo
			test.options.Log = slog.New(slog.NewTextHandler(io.Writer(&logged), nil))
			index := reuse.Find(t.Context(), []reuse.Place{test.place}, test.options)
			var found []string
			for _, key := range []layers.Key{"one", "two", "three", "four"} {
				layer := index.Layer(key)
				if layer == nil {
					continue
				}
				found = append(found, string(key))
				if got := index.LayerWith(key, objects, want) != nil; got != test.with {
					t.Errorf("LayerWith(%s) is there: %v, want %v", key, got, test.with)
				}
				if !layer.Reused() || !slices.Equal(layer.Paths, []string{path.Base()}) {
					t.Errorf("layer %s: reused %v, paths %v", key, layer.Reused(), layer.Paths)
				}
			}
			if got := strings.Join(found, " "); got != test.found {
				t.Errorf("found %q, want %q", got, test.found)
			}
			if got := strings.Join(index.Listing(path), " "); got != test.listed {
				t.Errorf("Listing(%s) = %q, want %q", path, got, test.listed)
			}
			if got := strings.Count(logged.String(), "earlier image not used"); got != test.logs {
				t.Errorf("%d lines in the log, want %d:\n%s", got, test.logs, &logged)
			}
		})
	}
}
