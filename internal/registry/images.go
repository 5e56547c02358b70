package registry

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// NoIndexError says that a tag leads to something else than an index.
type NoIndexError struct {
	Ref string
	v1.Descriptor
}

func (e *NoIndexError) Error() string {
	return fmt.Sprintf("%s: want an image index, it is %q", e.Ref, clean(string(e.MediaType)))
}

// Images returns the images that a tag leads to: one, or those of an index, less
// the manifests in it that are for no platform. Root is what the tag leads to.
func Images(ctx context.Context, r Repository, tag string) (images []v1.Image, root Manifest, err error) {
	index, err := r.Index(ctx, tag)
	var other *NoIndexError
	if errors.As(err, &other) {
		img, err := r.Image(ctx, other.Digest)
		return []v1.Image{img}, img, err
	}
	if err != nil {
		return nil, nil, err
	}
	images, err = ImagesOf(index)
	return images, index, err
}

// ImagesOf returns the images of an index, less the manifests in it that are for no
// platform.
func ImagesOf(index v1.ImageIndex) (images []v1.Image, err error) {
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, desc := range list.Manifests {
		if !desc.MediaType.IsImage() || ForNoPlatform(desc) {
			continue
		}
		img, err := index.Image(desc.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// ForNoPlatform tells of an entry of an index whether it says something of
// another one, such as where that was built.
func ForNoPlatform(desc v1.Descriptor) bool {
	if desc.Platform == nil || desc.Platform.OS == "" {
		return desc.Annotations["vnd.docker.reference.type"] != ""
	}
	return desc.Platform.OS == "unknown"
}
