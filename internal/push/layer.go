package push

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// fill sees to the layers of images that can be opened, each once.
func (s *stock) fill(ctx context.Context, images []archive.Image) error {
	s.task = s.Progress.Start("pushing", 0)
	defer s.task.Done()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	seen := map[[2]v1.Hash]bool{}
	for _, img := range images {
		for _, layer := range img.Layers {
			key := [2]v1.Hash{layer.DiffID}
			if layer.Blob != nil {
				key[1] = layer.Blob.Digest
			}
			if layer.Open == nil || seen[key] {
				continue
			}
			seen[key] = true
			g.Go(func() error {
				err := s.put(ctx, layer)
				if err != nil && ctx.Err() == nil {
					err = fmt.Errorf("%s: %w", layer.From, err)
				}
				return err
			})
		}
	}
	return g.Wait()
}

// put sees to one layer. It is read unless an image in the registry says the very
// same of it.
func (s *stock) put(ctx context.Context, layer archive.Layer) error {
	known, ok := s.known(layer.DiffID)
	switch {
	case ok && (layer.Blob == nil || layer.Blob.Digest == known.Digest):
		return s.use(ctx, layer.DiffID, known)
	case layer.DiffID == v1.Hash{}: // it says something of an image, and is no layer of one
		return s.send(ctx, s.given(ctx, *layer.Blob, layer))
	}
	from, err := layer.Open(ctx)
	if err != nil {
		return err
	}
	defer from.Close()
	buffered := bufio.NewReaderSize(s.count(ctx, from), 128<<10)
	begin, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	if layers.Compression(begin) != types.OCIUncompressedLayer {
		return s.putCompressed(ctx, layer, buffered)
	}
	made, remove, err := s.make(buffered)
	if err != nil {
		return err
	}
	err = promised(layer, made)
	if err == nil {
		err = s.send(ctx, made)
	}
	return errors.Join(err, remove())
}

// putCompressed reads a layer once to hold it against what is promised, and once
// to send it.
func (s *stock) putCompressed(ctx context.Context, layer archive.Layer, from io.Reader) error {
	id, err := layers.Identify(from)
	if err != nil {
		return err
	}
	desc := v1.Descriptor{MediaType: id.Media, Size: id.Size, Digest: id.Digest}
	given := s.given(ctx, desc, layer)
	if err := promised(layer, layers.Given(desc, id.DiffID, nil)); err != nil {
		return err
	}
	return s.send(ctx, given)
}

func (s *stock) given(ctx context.Context, desc v1.Descriptor, layer archive.Layer) *layers.Layer {
	return layers.Given(desc, layer.DiffID, func() (io.ReadCloser, error) { return layer.Open(ctx) })
}

// promised holds a layer against what its image says of it.
func promised(layer archive.Layer, is *layers.Layer) error {
	desc, diffID := described(is)
	if diffID != layer.DiffID {
		return &archive.DigestError{What: "diffID", Got: diffID, Want: layer.DiffID}
	}
	if layer.Blob != nil && layer.Blob.Digest != desc.Digest {
		return &archive.DigestError{What: "digest", Got: desc.Digest, Want: layer.Blob.Digest}
	}
	if layer.Blob != nil && layer.Blob.Size != desc.Size {
		return fmt.Errorf("it has %d bytes, the image says %d", desc.Size, layer.Blob.Size)
	}
	return nil
}

// make makes a layer in a folder of its own, which remove removes.
func (s *stock) make(layer io.Reader) (made *layers.Layer, remove func() error, err error) {
	dir, err := os.MkdirTemp(s.Dir, "layer-")
	if err != nil {
		return nil, nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	made, err = layers.Packer{Dir: dir, Encoding: s.Encoding}.Foreign(layer)
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return made, remove, nil
}

func (s *stock) send(ctx context.Context, layer *layers.Layer) error {
	desc, diffID := described(layer)
	state, err := s.repo.PushBlob(ctx, layer)
	if err == nil {
		s.place(diffID, desc, state)
	}
	return err
}

// described is a finished layer, of which nothing can fail.
func described(layer *layers.Layer) (desc v1.Descriptor, diffID v1.Hash) {
	desc.Digest, _ = layer.Digest()
	desc.Size, _ = layer.Size()
	desc.MediaType, _ = layer.MediaType()
	diffID, _ = layer.DiffID()
	return desc, diffID
}

// document makes sure that a configuration is there.
func (s *stock) document(ctx context.Context, desc v1.Descriptor, data []byte) (registry.Outcome, error) {
	return s.repo.PushBlob(ctx, layers.Given(desc, v1.Hash{}, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}))
}
