package push

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// Reused is the state of a layer that an image under a tag has already.
const Reused registry.Outcome = "reused"

// atOnce bounds the layers that are being made or sent, and with them the disk:
// the compressor uses all processors for one, and the registry wants several.
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

// read reads the sources. Layers that can be read but once are sent on the way.
func (s *stock) read(ctx context.Context, sources []Source) ([]archive.Set, error) {
	s.task = s.Progress.Start("reading", 0)
	defer s.task.Done()
	ending, end := context.WithCancel(ctx)
	defer end()
	sending, within := errgroup.WithContext(ending)
	sending.SetLimit(atOnce)
	sets, err := s.readEach(within, sources, func(ctx context.Context, _ string, guess v1.Hash, layer io.Reader) (archive.Taken, error) {
		return s.take(ctx, sending, guess, layer)
	})
	if err != nil {
		end() // what is being sent is of no use
	}
	if sent := sending.Wait(); sent != nil && !errors.Is(sent, context.Canceled) {
		return nil, sent
	}
	return sets, err
}

func (s *stock) readEach(ctx context.Context, sources []Source, take archive.Take) ([]archive.Set, error) {
	sets := make([]archive.Set, len(sources))
	for i, source := range sources {
		var err error
		if sets[i], err = source.Images(ctx, take); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// take sends a layer that can be read but once, while the next one is read.
func (s *stock) take(ctx context.Context, sending *errgroup.Group, guess v1.Hash, layer io.Reader) (archive.Taken, error) {
	if diffID, blob, ok := s.guessed(guess); ok {
		id, err := layers.Identify(s.count(ctx, layer))
		if err == nil && id.DiffID != diffID {
			err = fmt.Errorf("its name says %s, its bytes have the diffID %s", guess, id.DiffID)
		}
		if err == nil {
			err = s.use(ctx, diffID, blob)
		}
		return archive.Taken{Digest: id.Digest, DiffID: id.DiffID}, err
	}
	made, remove, err := s.make(s.count(ctx, layer))
	if err != nil {
		return archive.Taken{}, err
	}
	desc, diffID := described(made)
	taken := archive.Taken{Digest: desc.Digest, DiffID: diffID}
	if blob, ok := s.known(diffID); ok && (!made.Kept || blob.Digest == desc.Digest) {
		return taken, errors.Join(s.use(ctx, diffID, blob), remove())
	}
	sending.Go(func() error { return errors.Join(s.send(ctx, made), remove()) })
	return taken, nil
}

// guessed finds a known layer by what may be its diffID or its digest.
func (s *stock) guessed(guess v1.Hash) (v1.Hash, reuse.Blob, bool) {
	if blob, ok := s.known(guess); ok {
		return guess, blob, true
	}
	for _, known := range []reuse.Blobs{s.here, s.like} {
		for diffID, blob := range known {
			if blob.Digest == guess {
				return diffID, blob, true
			}
		}
	}
	return v1.Hash{}, reuse.Blob{}, false
}

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

// document makes sure that a configuration is there.
func (s *stock) document(ctx context.Context, desc v1.Descriptor, data []byte) (registry.Outcome, error) {
	return s.repo.PushBlob(ctx, layers.Given(desc, v1.Hash{}, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}))
}

// count shows what is read, and ends the reading with ctx.
func (s *stock) count(ctx context.Context, r io.Reader) io.Reader {
	return progress.Count(io.NopCloser(cancellable{ctx, r}), s.task)
}

type cancellable struct {
	ctx context.Context
	io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}
