package source

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// spool holds the contents of all files of an archive, one after the other, in a file that has no name.
type spool struct {
	f       *os.File
	size    int64  // bytes added
	written int64  // of these, bytes that are in f
	buf     []byte // the others
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "source-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("temporary file: %w", err), f.Close())
	}
	return &spool{f: f, buf: make([]byte, 0, blockSize)}, nil
}

// add copies exactly size bytes from r to the end of the spool and to h.
// It returns where they begin.
func (s *spool) add(r io.Reader, size int64, h hash.Hash) (int64, error) {
	offset := s.size
	for size > 0 {
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
		free := s.buf[len(s.buf):cap(s.buf)]
		n, err := io.ReadFull(r, free[:min(size, int64(len(free)))])
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		h.Write(free[:n])
		s.buf = s.buf[:len(s.buf)+n]
		s.size += int64(n)
		size -= int64(n)
	}
	return offset, nil
}

// seal must follow the last add before anything is read.
func (s *spool) seal() error {
	err := s.flush()
	s.buf = nil
	return err
}

func (s *spool) flush() error {
	n, err := s.f.Write(s.buf)
	s.written += int64(n)
	if err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

func (s *spool) Close() error {
	return s.f.Close()
}

// window reads files from a spool, of which size bytes are written, through one buffer.
// Archive order is close to NAR order, so most files are in the buffer already when their turn comes;
// and it is small, so that an archive in random order does not cost much more.
type window struct {
	f          *os.File
	size       int64
	start, end int64 // part of the spool that buf holds
	buf        [64 << 10]byte
}

// window reads what is written of a spool now.
func (s *spool) window() *window {
	return &window{f: s.f, size: s.written}
}

// at returns a part of the spool from offset on, at least one byte and at most size bytes.
func (w *window) at(offset, size int64) ([]byte, error) {
	if offset >= w.size {
		return nil, errors.New("temporary file: read before it is written")
	}
	if offset < w.start || offset >= w.end {
		n, err := w.f.ReadAt(w.buf[:min(int64(len(w.buf)), w.size-offset)], offset)
		if err != nil {
			return nil, fmt.Errorf("temporary file: %w", err)
		}
		w.start, w.end = offset, offset+int64(n)
	}
	return w.buf[offset-w.start : min(w.end, offset+size)-w.start], nil
}

// contents reads one file of the spool.
type contents struct {
	w            *window
	offset, left int64
}

func (c *contents) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	part, err := c.w.at(c.offset, min(c.left, int64(len(p))))
	if err != nil {
		return 0, err
	}
	n := copy(p, part)
	c.offset += int64(n)
	c.left -= int64(n)
	return n, nil
}

// WriteTo spares [io.Copy] a buffer of its own.
func (c *contents) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for c.left > 0 {
		part, err := c.w.at(c.offset, c.left)
		if err != nil {
			return total, err
		}
		n, err := w.Write(part)
		total += int64(n)
		c.offset += int64(n)
		c.left -= int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
