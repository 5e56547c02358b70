package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"
)

// through writes data into a pipe, in pieces of some sizes, and returns what is read of it.
func through(data []byte, end error, pieces func() int) ([]byte, error) {
	p := newPipe()
	var g errgroup.Group
	g.Go(func() error {
		w := pipeWriter{pipe: p}
		for rest := data; len(rest) > 0; {
			n := min(pieces(), len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		w.end(end)
		return nil
	})
	r := pipeReader{pipe: p, ctx: context.Background()}
	got, err := io.ReadAll(&r)
	r.close()
	return got, errors.Join(err, g.Wait())
}

func TestPipe(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 3*pipeBlocks*blockSize + 5} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for name, pieces := range map[string]func() int{
			"all at once": func() int { return size },
			"pieces":      func() int { return 1 + rng.IntN(100_000) },
			"blocks":      func() int { return blockSize },
		} {
			got, err := through(data, nil, pieces)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %s: %d bytes come through, error %v", size, name, len(got), err)
			}
		}
	}
}

// An error comes after whole blocks, in place of the rest.
func TestPipeError(t *testing.T) {
	end := errors.New("damaged")
	got, err := through(make([]byte, 3*blockSize+1), end, func() int { return 1000 })
	if !errors.Is(err, end) || len(got) > 3*blockSize || len(got) < 2*blockSize {
		t.Errorf("%d bytes and error %v, want 2 or 3 blocks and %v", len(got), err, end)
	}
}

func TestPipeReaderGone(t *testing.T) {
	p := newPipe()
	r := pipeReader{pipe: p, ctx: t.Context()}
	r.close()
	w := pipeWriter{pipe: p}
	_, err := w.Write(make([]byte, 2*pipeBlocks*blockSize))
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v, want %v", err, io.ErrClosedPipe)
	}
	w.end(err)
}

func TestPipeCancelled(t *testing.T) {
	cause := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	r := pipeReader{pipe: newPipe(), ctx: ctx}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != cause {
		t.Errorf("Read = %d, %v, want %v", n, err, cause)
	}
}
