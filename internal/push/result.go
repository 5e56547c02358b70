package push

import (
	"cmp"
	"context"
	"errors"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

// Result is what was pushed: of an index an entry without a platform first, then
// the image of each platform.
type Result []Image

// Image is an image, or an index, that was pushed.
type Image struct {
	Image    string  `json:"image"`
	Digest   string  `json:"digest"`
	Platform string  `json:"platform"`
	Layers   []Layer `json:"layers"`
	Sent     int64   `json:"sent"` // bytes of layers, configuration and manifest
}

// Layer is a layer of an image that was pushed.
type Layer struct {
	Digest string           `json:"digest"`
	DiffID string           `json:"diffID"`
	Size   int64            `json:"size"`
	State  registry.Outcome `json:"state"`
}

func (i *Image) add(diffID v1.Hash, blob v1.Descriptor, state registry.Outcome) {
	i.Layers = append(i.Layers, Layer{blob.Digest.String(), diffID.String(), blob.Size, state})
	i.count(state, blob.Size)
}

func (i *Image) count(state registry.Outcome, size int64) {
	if state == registry.Sent {
		i.Sent += size
	}
}

// result is what is told of a push.
func (p Pusher) result(tags []Tag, m *made) (Result, error) {
	digest, err := m.root.Digest()
	if err != nil {
		return nil, err
	}
	first := slices.MinFunc(tags, func(a, b Tag) int { return cmp.Compare(a.named, b.named) })
	ref := p.To.Ref(first.Name)
	if m.images[0].Digest == digest.String() {
		m.images[0].Image = ref
		return m.images, nil
	}
	index := Image{Image: ref, Digest: digest.String(), Layers: []Layer{}}
	for i := range m.images {
		m.images[i].Image = p.To.Ref(m.images[i].Digest)
		index.Sent += m.images[i].Sent
	}
	return append(Result{index}, m.images...), nil
}

// dry is a repository that is only asked.
type dry struct{ registry.Repository }

func (d dry) PushBlob(ctx context.Context, layer v1.Layer) (registry.Outcome, error) {
	digest, err := layer.Digest()
	if err != nil {
		return "", err
	}
	size, err := layer.Size()
	if err != nil {
		return "", err
	}
	found, err := d.HasBlob(ctx, digest, size)
	_, mountable := layer.(*remote.MountableLayer)
	switch {
	case err != nil:
		return "", err
	case found:
		return registry.Present, nil
	case mountable:
		return registry.Mounted, nil
	}
	return registry.Sent, nil
}

func (d dry) PushManifest(ctx context.Context, m registry.Manifest) (registry.Outcome, error) {
	digest, err := m.Digest()
	if err != nil {
		return "", err
	}
	_, err = d.Describe(ctx, digest.String())
	if errors.Is(err, registry.ErrNotFound) {
		return registry.Sent, nil
	}
	return registry.Present, err
}

// Missing has nothing to ask for.
func (dry) Missing(context.Context, v1.Hash) ([]v1.Hash, error) { return nil, nil }

// Tag does not.
func (dry) Tag(context.Context, registry.Manifest, string) error { return nil }
