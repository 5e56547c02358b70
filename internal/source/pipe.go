package source

import (
	"context"
	"io"
)

const (
	blockSize  = 256 << 10 // bytes that one stage of a stream hands to the next at a time
	pipeBlocks = 8         // that are on their way, so that neither stage waits for a slow part of the other
)

// pipe hands a stream from one goroutine to another, in blocks that are used again and again.
type pipe struct {
	free, full chan []byte
	gone       chan struct{} // closed when nobody reads any more
	err        error         // what the stream ends with, once full is closed
}

func newPipe() *pipe {
	p := &pipe{free: make(chan []byte, pipeBlocks), full: make(chan []byte, pipeBlocks), gone: make(chan struct{})}
	for range pipeBlocks {
		p.free <- nil
	}
	return p
}

// pipeWriter is the end that is written to.
type pipeWriter struct {
	*pipe
	block []byte
}

// Write fails when nobody reads any more.
func (w *pipeWriter) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		if len(w.block) == cap(w.block) {
			if err := w.next(); err != nil {
				return written, err
			}
		}
		n := min(len(data)-written, cap(w.block)-len(w.block))
		w.block = append(w.block, data[written:written+n]...)
		written += n
	}
	return written, nil
}

// next sends the block and takes another one.
func (w *pipeWriter) next() error {
	if len(w.block) > 0 {
		w.full <- w.block // which has room for all blocks
	}
	select {
	case <-w.gone:
		return io.ErrClosedPipe
	case block := <-w.free:
		if block == nil {
			block = make([]byte, 0, blockSize)
		}
		w.block = block[:0]
		return nil
	}
}

// end ends the stream, with [io.EOF] after all that was written if err is nil.
func (w *pipeWriter) end(err error) {
	if w.err = err; err == nil {
		w.err = io.EOF
		if len(w.block) > 0 {
			w.full <- w.block
		}
	}
	close(w.full)
}

// pipeReader is the end that is read from.
type pipeReader struct {
	*pipe
	ctx   context.Context
	block []byte
	rest  []byte // of block
}

// Read fails when the context ends.
func (r *pipeReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *pipeReader) next() error {
	if r.block != nil {
		r.free <- r.block
		r.block = nil
	}
	select {
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	case block, ok := <-r.full:
		if !ok {
			return r.err
		}
		r.block, r.rest = block, block
		return nil
	}
}

func (r *pipeReader) close() { close(r.gone) }
