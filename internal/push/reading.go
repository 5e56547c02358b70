package push

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

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
	if sent := sending.Wait(); sent != nil && (err == nil || !errors.Is(sent, context.Canceled)) {
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
	taken := archive.Taken{Digest: diffID, DiffID: diffID}
	if made.Kept {
		taken.Digest = desc.Digest
	}
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
