package registry

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Images returns the images that a tag leads to: one, or those of an index, less
// the manifests in it that are for no platform. Root is what the tag leads to.
func Images(ctx context.Context, r Repository, tag string) (images []v1.Image, root Manifest, err error) {
	desc, err := r.Describe(ctx, tag)
	if err != nil {
		return nil, nil, err
	}
	if !desc.MediaType.IsIndex() {
		img, err := r.Image(ctx, desc.Digest)
		return []v1.Image{img}, img, err
	}
	index, err := r.Index(ctx, tag)
	if err != nil {
		return nil, nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	for _, desc := range list.Manifests {
		if !desc.MediaType.IsImage() || ForNoPlatform(desc) {
			continue
		}
		img, err := index.Image(desc.Digest)
		if err != nil {
			return nil, nil, err
		}
		images = append(images, img)
	}
	return images, index, nil
}

// ForNoPlatform tells of an entry of an index whether it says something of
// another one, such as where that was built.
func ForNoPlatform(desc v1.Descriptor) bool {
	if desc.Platform == nil || desc.Platform.OS == "" {
		return desc.Annotations["vnd.docker.reference.type"] != ""
	}
	return desc.Platform.OS == "unknown"
}
