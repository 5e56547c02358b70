package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
)

// Differ says where an image first differs from one that was made again; "" where
// they are the same.
func Differ(published, again v1.Image) (string, error) {
	had, err := published.Digest()
	if err != nil {
		return "", err
	}
	has, err := again.Digest()
	if err != nil || had == has {
		return "", err
	}
	a, err := image.Open(published)
	if err != nil {
		return "", err
	}
	b, err := image.Open(again)
	if err != nil {
		return "", err
	}
	where := cmp.Or(layersDiffer(a, b), labelsDiffer(a, b), configsDiffer(a, b), "nothing but the manifests' own bytes differs")
	return fmt.Sprintf("its digest is %s, made again it is %s: %s", had, has, where), nil
}

func layersDiffer(a, b image.Opened) string {
	had, has := image.Described(a.Manifest), image.Described(b.Manifest)
	for i := range min(len(had), len(has)) {
		if had[i].Digest != has[i].Digest {
			return fmt.Sprintf("layer %d (%s) is %s, made again it is %s (%s)", i, contentOf(had[i]), had[i].Digest, has[i].Digest, contentOf(has[i]))
		}
	}
	if len(had) != len(has) {
		return fmt.Sprintf("it has %d layers, made again %d", len(had), len(has))
	}
	return ""
}

func contentOf(l image.Layer) string {
	if len(l.Paths) == 0 {
		return "root file system"
	}
	return brief(l.Paths)
}

func labelsDiffer(a, b image.Opened) string {
	had, has := a.Config.Config.Labels, b.Config.Config.Labels
	for _, name := range slices.Compact(sortedKeys(had, has)) {
		if had[name] != has[name] {
			return fmt.Sprintf("label %s is %q, made again %q", name, had[name], has[name])
		}
	}
	if !maps.Equal(a.Manifest.Annotations, b.Manifest.Annotations) {
		return "the annotations differ"
	}
	return ""
}

func configsDiffer(a, b image.Opened) string {
	if a.Manifest.Config.Digest == b.Manifest.Config.Digest {
		return ""
	}
	return "the configurations differ: environment, command or history"
}
