package image

import (
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func stackOf(n int) (*v1.ConfigFile, []mutate.Addendum) {
	config := &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	config.Config.Labels = map[string]string{ToolsLabel: fmt.Sprintf("%08000d", n)}
	var stack []mutate.Addendum
	for i := range n {
		stack = append(stack, mutate.Addendum{
			Layer:       must(random.Layer(100, types.OCILayer)),
			Annotations: map[string]string{"n": fmt.Sprint(i)},
			History:     v1.History{CreatedBy: fmt.Sprint(i)},
		})
	}
	return config, stack
}

// A composed image is the one that package mutate makes, with the same layers.
func TestCompose(t *testing.T) {
	for _, n := range []int{0, 1, 48} {
		config, stack := stackOf(n)
		annotations := map[string]string{"a": "b"}
		got, err := Compose(config, stack, annotations)
		if err != nil {
			t.Fatal(err)
		}
		want, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
		if err == nil {
			want, err = mutate.Append(want, stack...)
		}
		if err != nil {
			t.Fatal(err)
		}
		want = mutate.Annotations(want, annotations).(v1.Image)
		if got, want := documents(t, got), documents(t, want); got != want {
			t.Errorf("%d layers: %s\nwant %s", n, got, want)
		}
		if err := validate.Image(got); err != nil {
			t.Errorf("%d layers: %v", n, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// documents is all that an image says of itself.
func documents(t *testing.T, img v1.Image) string {
	t.Helper()
	text := fmt.Sprintf("%s %s %s %v %v\n%s\n%s\n", must(img.Digest()), must(img.ConfigName()), must(img.MediaType()), must(img.Size()), must(img.ConfigFile()).RootFS,
		must(img.RawManifest()), must(img.RawConfigFile()))
	for _, l := range must(img.Layers()) {
		text += must(l.Digest()).String() + "\n"
	}
	return text
}

// BenchmarkLayers is what it takes to list the layers of a composed image.
func BenchmarkLayers(b *testing.B) {
	config, stack := stackOf(48)
	img, err := Compose(config, stack, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		must(img.Layers())
		must(img.ConfigName())
	}
}
