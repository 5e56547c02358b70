package upload

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// checked is the NAR of a store object. It gives its last bytes only when all
// of them are the right ones, so that nobody can take a wrong NAR for whole.
type checked struct {
	info nix.PathInfo
	src  io.ReadCloser
	sum  hash.Hash
	left int64
	err  error // of src, or what is wrong with the NAR; io.EOF at the end
}

// openNAR opens the NAR of an object. Errors, also those of Read, name it.
func openNAR(ctx context.Context, objects Objects, info nix.PathInfo) (*checked, error) {
	src, err := objects.NAR(ctx, info)
	if err != nil {
		return nil, named(info, err)
	}
	return &checked{info: info, src: src, sum: sha256.New(), left: info.NarSize}, nil
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.src.Read(p)
	c.sum.Write(p[:n])
	c.left -= int64(n)
	if err == nil && c.left > 0 {
		return n, nil
	}
	if err == nil && c.left == 0 {
		var more int
		more, err = io.ReadFull(c.src, make([]byte, 1))
		c.left -= int64(more)
	}
	switch got := nix.Hash(c.sum.Sum(nil)); {
	case c.left < 0:
		return 0, c.fail(fmt.Errorf("NAR is longer than %d bytes", c.info.NarSize))
	case err != io.EOF:
		return 0, c.fail(err)
	case c.left > 0:
		return 0, c.fail(fmt.Errorf("NAR ends after %d of %d bytes: %w", c.info.NarSize-c.left, c.info.NarSize, io.ErrUnexpectedEOF))
	case got != c.info.NarHash:
		return 0, c.fail(fmt.Errorf("NAR hash is %s (want %s)", got, c.info.NarHash))
	}
	c.err = io.EOF
	return n, io.EOF
}

func (c *checked) fail(err error) error {
	c.err = named(c.info, err)
	return c.err
}

// broken returns what is wrong with the NAR or with where it comes from.
func (c *checked) broken() error {
	if c.err == io.EOF {
		return nil
	}
	return c.err
}

func (c *checked) Close() error { return c.src.Close() }

func named(info nix.PathInfo, err error) error {
	return fmt.Errorf("%s: %w", info.Path.Base(), err)
}

// Written returns as a stream what a function writes, for objects that are
// generated, such as the NAR of a source tree. Closing the stream makes the
// function's next Write fail, and waits for the function to return.
func Written(write func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := bufio.NewWriterSize(w, 64<<10) // a NAR is written in many small pieces
		err := write(buffer)
		if err == nil {
			err = buffer.Flush()
		}
		w.CloseWithError(err)
	}()
	return &written{r, done}
}

type written struct {
	*io.PipeReader
	done chan struct{}
}

func (w *written) Close() error {
	w.PipeReader.Close()
	<-w.done
	return nil
}
