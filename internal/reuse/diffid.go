package reuse

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// Blobs are layers of earlier images by their diffIDs: whoever has made a layer
// need not know how it was compressed.
type Blobs map[v1.Hash]Blob

// Blob is a layer as an earlier image has it.
type Blob struct {
	v1.Descriptor
	Layer v1.Layer // to read it or to mount it
}

// Has tells whether an earlier image has a layer with this very blob.
func (b Blobs) Has(diffID, digest v1.Hash) bool {
	had, ok := b[diffID]
	return ok && had.Digest == digest
}

// ByDiffID reads the images in places, of any maker, and returns their layers but
// those that a registry has lost. Where two images have compressed a layer
// differently the first one's is returned.
func ByDiffID(ctx context.Context, places []Place, o Options) Blobs {
	if o.Limit == 0 {
		o.Limit = limit
	}
	s := search{Options: o, until: time.Now().Add(o.Limit), read: make(map[v1.Hash]bool)}
	all := Blobs{}
	for _, p := range places {
		for _, tag := range p.Tags {
			found := Blobs{}
			err := s.inTime(ctx, p.Repository.Ref(tag), func(ctx context.Context) error { return s.readBlobs(ctx, found, p.Repository, tag) })
			if err != nil {
				p.tell(o.Log, tag, err)
				continue
			}
			for diffID, blob := range found {
				if _, ok := all[diffID]; !ok {
					all[diffID] = blob
				}
			}
		}
	}
	return all
}

// tell tells that no image was read under a tag. What a registry answered instead
// of "not there" was told already.
func (p Place) tell(log *slog.Logger, tag string, err error) {
	if p.Named && errors.Is(err, registry.ErrNotFound) {
		log.Warn("there is no such image to have layers of", "image", p.Repository.Ref(tag))
		return
	}
	log.Debug("no layers from an earlier image", "image", p.Repository.Ref(tag), "reason", err)
}

func (s *search) readBlobs(ctx context.Context, to Blobs, repo registry.Repository, tag string) error {
	images, root, err := registry.Images(ctx, repo, tag)
	if err != nil {
		return err
	}
	digest, err := root.Digest()
	if err != nil || s.read[digest] {
		return err
	}
	s.read[digest] = true
	lost, err := repo.Missing(ctx, digest)
	if err != nil {
		return err
	}
	for _, img := range images {
		if err := addBlobs(to, img); err != nil {
			return err
		}
	}
	maps.DeleteFunc(to, func(_ v1.Hash, b Blob) bool { return slices.Contains(lost, b.Digest) })
	return nil
}

func addBlobs(to Blobs, img v1.Image) error {
	opened, err := image.Open(img)
	if err != nil {
		return err
	}
	stack, err := opened.Stack()
	if err != nil {
		return err
	}
	for _, l := range stack {
		if _, ok := to[l.DiffID]; !ok && l.MediaType.IsDistributable() {
			to[l.DiffID] = Blob{l.Descriptor, l.Blob}
		}
	}
	return nil
}
