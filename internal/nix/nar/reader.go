package nar

import (
	"fmt"
	"io"
)

// Reader reads an archive as a stream.
// After an error, every further call returns the same error.
type Reader struct {
	scanner
	begun  bool
	inFile bool
	left   int64 // contents of the current file not yet read
	pad    int   // zeros behind them
	open   []folder
	path   string // of the entry at hand, for errors
	err    error
}

// NewReader reads an archive of exactly size bytes;
// no length within it can then exceed what is left, and src must end with it.
// With a negative size the archive may be of any size, and src must still end with it.
func NewReader(src io.Reader, size int64) *Reader {
	room := int64(bufferSize)
	if size >= 0 {
		room = min(room-1, size) + 1
	}
	return &Reader{scanner: scanner{src: src, buf: make([]byte, room), size: size}}
}

// Next skips what is left of the current file and returns the next entry.
// Directories come before their children, and those in bytewise order of their names.
// It returns io.EOF after the last entry, when archive and source have ended as they should;
// an archive that was cut off gives io.ErrUnexpectedEOF.
func (r *Reader) Next() (Entry, error) {
	if r.err != nil {
		return Entry{}, r.err
	}
	entry, err := r.next()
	if err != nil {
		return Entry{}, r.fail(err)
	}
	return entry, nil
}

// Read reads from the contents of the current entry; other entries than a Regular have none.
// It returns io.EOF only when the file is complete.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.beforeContents(); err != nil {
		return 0, err
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.lo < r.hi || len(p) < len(r.buf) {
		chunk, err := r.contents()
		if err != nil {
			return 0, r.fail(err)
		}
		n := copy(p, chunk)
		r.use(n)
		r.left -= int64(n)
		return n, nil
	}
	n, err := r.readSource(p)
	r.pos += int64(n)
	r.left -= int64(n)
	if err != nil {
		return n, r.fail(err)
	}
	return n, nil
}

// WriteTo writes what is left of the current file to w. It makes io.Copy do without a buffer.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := r.beforeContents(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		chunk, err := r.contents()
		if err != nil {
			return total, r.fail(err)
		}
		n, err := w.Write(chunk)
		r.use(n)
		r.left -= int64(n)
		total += int64(n)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// beforeContents returns nil while the current file has contents to read.
// Behind the last of them it checks how the file ends, and returns io.EOF.
func (r *Reader) beforeContents() error {
	switch {
	case r.err != nil:
		return r.err
	case r.inFile && r.left > 0:
		return nil
	case r.inFile:
		if err := r.closeFile(); err != nil {
			return r.fail(err)
		}
	}
	return io.EOF
}

func (r *Reader) fail(err error) error {
	switch {
	case err == io.EOF:
	case r.path == "":
		err = fmt.Errorf("nar: offset %d: %w", r.pos, err)
	default:
		err = fmt.Errorf("nar: %q: offset %d: %w", r.path, r.pos, err)
	}
	r.err = err
	return err
}

// contents returns a part of the current file, at least one byte of what is left.
func (r *Reader) contents() ([]byte, error) {
	if err := r.fill(1); err != nil {
		return nil, err
	}
	return r.buf[r.lo:min(int64(r.hi), int64(r.lo)+r.left)], nil
}
