package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// stock is what a repository holds, as far as it matters whether something is
// there. Manifests are read, for they name what else has to be there.
type stock interface {
	manifest(ctx context.Context, digest v1.Hash) ([]byte, error) // or ErrNotFound
	HasBlob(ctx context.Context, digest v1.Hash, size int64) (bool, error)
}

// named are the fields of indexes and manifests that lead to something else.
type named struct {
	MediaType types.MediaType `json:"mediaType"`
	Manifests []v1.Descriptor `json:"manifests"`
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
}

// missing lists what is not there of a manifest and everything below it, each
// once and in the order in which it is named. Blobs are asked for by as many
// questions at once as jobs says.
func missing(ctx context.Context, s stock, digest v1.Hash, jobs int) ([]v1.Hash, error) {
	w := walk{stock: s, seen: map[v1.Hash]bool{}}
	if err := w.manifestAt(ctx, digest); err != nil {
		return nil, err
	}
	absent := make([]bool, len(w.blobs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, blob := range w.blobs {
		g.Go(func() error {
			found, err := s.HasBlob(ctx, blob.Digest, blob.Size)
			absent[i] = !found
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, blob := range w.blobs {
		if absent[i] {
			w.absent = append(w.absent, blob.Digest)
		}
	}
	return w.absent, nil
}

// walk goes through manifests.
type walk struct {
	stock  stock
	seen   map[v1.Hash]bool
	blobs  []v1.Descriptor
	absent []v1.Hash
}

func (w *walk) manifestAt(ctx context.Context, digest v1.Hash) error {
	if w.seen[digest] {
		return nil
	}
	w.seen[digest] = true
	raw, err := w.stock.manifest(ctx, digest)
	if errors.Is(err, ErrNotFound) {
		w.absent = append(w.absent, digest)
		return nil
	}
	if err != nil {
		return err
	}
	var m named
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&m); err != nil {
		return fmt.Errorf("manifest %s: %w", digest, err)
	}
	for _, child := range m.Manifests {
		if err := w.manifestAt(ctx, child.Digest); err != nil {
			return err
		}
	}
	if m.Config != nil {
		w.blob(*m.Config)
	}
	for _, layer := range m.Layers {
		if layer.MediaType.IsDistributable() {
			w.blob(layer)
		}
	}
	return nil
}

func (w *walk) blob(desc v1.Descriptor) {
	if !w.seen[desc.Digest] {
		w.seen[desc.Digest] = true
		w.blobs = append(w.blobs, desc)
	}
}
