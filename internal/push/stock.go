package push

import (
	"context"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// Reused is the state of a layer that an image under a tag has already.
const Reused registry.Outcome = "reused"

// atOnce bounds the layers that are being made or sent, and with them disk and
// memory, for one by zstd may want a window of 128 MiB to be read. The compressor
// uses all processors for one layer, and the registry wants several.
const atOnce = 3

// stock is what the repository has of the blobs of a push.
type stock struct {
	Pusher
	repo registry.Repository
	here reuse.Blobs // layers of images in the repository
	like reuse.Blobs // of images elsewhere in the registry
	task progress.Task

	mu     sync.Mutex
	blobs  map[v1.Hash]v1.Descriptor // of layers, by diffID
	states map[v1.Hash]registry.Outcome
}

// newStock asks for the images that may have layers of this one.
func (p Pusher) newStock(ctx context.Context) *stock {
	s := &stock{Pusher: p, repo: p.repository(), blobs: map[v1.Hash]v1.Descriptor{}, states: map[v1.Hash]registry.Outcome{}}
	here, elsewhere := p.places()
	o := reuse.Options{Log: p.Log}
	s.here = reuse.ByDiffID(ctx, here, o)
	s.like = reuse.ByDiffID(ctx, elsewhere, o)
	return s
}

// places are the images under the tags now, and those that are alike.
func (p Pusher) places() (here, elsewhere []reuse.Place) {
	now := reuse.Place{Repository: p.To}
	for _, tag := range p.Tags {
		if t, err := expand(tag, Values{Rev: p.Rev, Date: p.Date}); err == nil {
			now.Tags = append(now.Tags, t.Name)
		}
	}
	here = append(here, now)
	for _, place := range p.Like {
		if place.Repository.Ref("x") == p.To.Ref("x") {
			here = append(here, place)
		} else {
			elsewhere = append(elsewhere, place)
		}
	}
	return here, elsewhere
}

// known finds a layer that an image in the registry has.
func (s *stock) known(diffID v1.Hash) (reuse.Blob, bool) {
	if blob, ok := s.here[diffID]; ok {
		return blob, true
	}
	blob, ok := s.like[diffID]
	return blob, ok
}

// use takes a layer from where it is.
func (s *stock) use(ctx context.Context, diffID v1.Hash, blob reuse.Blob) error {
	if s.here.Has(diffID, blob.Digest) {
		s.place(diffID, blob.Descriptor, Reused)
		return nil
	}
	state, err := s.repo.PushBlob(ctx, blob.Layer)
	if err == nil {
		s.place(diffID, blob.Descriptor, state)
	}
	return err
}

// place notes that a layer is in the repository. What was said of it first stays.
func (s *stock) place(diffID v1.Hash, desc v1.Descriptor, state registry.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.states[desc.Digest]; !ok {
		s.states[desc.Digest] = state
	}
	if _, ok := s.blobs[diffID]; !ok {
		s.blobs[diffID] = v1.Descriptor{MediaType: ociType(desc.MediaType), Size: desc.Size, Digest: desc.Digest}
	}
}

// ociType is the type that a layer of Docker has in a manifest of OCI.
func ociType(media types.MediaType) types.MediaType {
	switch media {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return media
}
