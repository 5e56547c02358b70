package diff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// described makes an image whose layers say which store paths they have.
func described(t *testing.T, labels map[string]string, paths ...string) v1.Image {
	t.Helper()
	img := empty.Image
	for _, list := range paths {
		a := mutate.Addendum{Layer: static.NewLayer([]byte(list), types.OCILayer)}
		if list != "" {
			a.Annotations = map[string]string{layers.PathsAnnotation: list}
		}
		var err error
		if img, err = mutate.Append(img, a); err != nil {
			t.Fatal(err)
		}
	}
	c := configOf(t, img, "arm64")
	c.Config.Labels = labels
	img, err := mutate.ConfigFile(img, c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Of images that others made, what they say is read, and what they do not say is noted.
func TestReadForeign(t *testing.T) {
	const jq, bad = "0c0v1b2d3f4g5h6i7j8k9l0m1n2p3q4r-jq-1.6", "no-store-path"
	tools := map[string]string{image.ToolsLabel: `[{"name":"jq","version":"1.6\n"}]`}
	for name, c := range map[string]struct {
		img      v1.Image
		layers   int
		packages []Package
		notes    []string
	}{
		"nothing said": {described(t, nil, "", ""), 2, nil, []string{"packages are not known: no layer says", "tools are not known: there is no label"}},
		"part of it":   {described(t, tools, jq, ""), 2, []Package{{"jq", "1.6", jq}}, []string{"packages are those of 1 of 2 layers"}},
		"nonsense": {
			described(t, map[string]string{image.ToolsLabel: "\x1b[31m{"}, jq, bad, jq+" "+jq), 3, nil,
			[]string{"packages are not known: layer sha256:", "tools are not known: label"},
		},
	} {
		p, err := Read(c.img)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.System != "aarch64-linux" || len(p.Layers) != c.layers {
			t.Errorf("%s: %s with %d layers, want %d", name, p.System, len(p.Layers), c.layers)
		}
		if diff := cmp.Diff(c.packages, p.Packages); diff != "" {
			t.Errorf("%s: packages\n%s", name, diff)
		}
		if len(p.Notes) != len(c.notes) {
			t.Fatalf("%s: notes %q, want %q", name, p.Notes, c.notes)
		}
		for i, note := range p.Notes {
			if !strings.HasPrefix(note, c.notes[i]) || strings.Contains(note, "\x1b") {
				t.Errorf("%s: note %q, want %q", name, note, c.notes[i])
			}
		}
	}
}

func TestReadPlatforms(t *testing.T) {
	for want, c := range map[string]v1.ConfigFile{
		"unknown":       {},
		"x86_64-linux":  {OS: "linux", Architecture: "amd64"},
		"aarch64-linux": {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/arm/v7":  {OS: "linux", Architecture: "arm", Variant: "v7"},
		"windows/amd64": {OS: "windows", Architecture: "amd64", OSVersion: "10.0"},
	} {
		if got := systemOf(&c); got != want {
			t.Errorf("systemOf(%+v) = %q, want %q", c, got, want)
		}
	}
}

// Images in the format of Docker are as good as those of OCI; what is no image is refused.
func TestReadFormats(t *testing.T) {
	img, err := random.Image(100, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, media := range []types.MediaType{types.DockerManifestSchema2, types.OCIManifestSchema1} {
		if p, err := Read(mutate.MediaType(img, media)); err != nil || len(p.Layers) != 3 || p.Layers[0].Size == 0 {
			t.Errorf("%s: %+v, %v", media, p, err)
		}
	}
	if _, err := Read(empty.Image); err == nil || !strings.Contains(err.Error(), "no layers") {
		t.Errorf("an image without layers: %v", err)
	}
	chart, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte("{}"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(mutate.ConfigMediaType(chart, "application/vnd.cncf.helm.config.v1+json"))
	if err != nil || p.System != "unknown" || p.Packages != nil {
		t.Errorf("a chart: %+v, %v", p, err)
	}
}
