package binarycache

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
)

// maxDict bounds the memory of an xz decoder. It is the dictionary of "xz -9".
const maxDict = 64 << 20

// xzReader decodes the container format of .xz files, version 1.2.1 of its
// specification (https://tukaani.org/xz/xz-file-format.txt), for files that are
// compressed by LZMA2 alone, as all NARs are. It exists because packages that read
// such files allocate whatever dictionary a block asks for, however short the file is.
type xzReader struct {
	in   counter
	dict int64 // bytes of dictionary that can be of use
	err  error

	streams int  // begun so far
	check   byte // kind of check of the current stream; 0xff between streams
	blocks  uint64

	dec       *lzma2Reader // of one block after the other
	within    bool         // a block
	blockFrom int64        // where its compressed data begins
	blockSize int64        // decoded so far
	want      blockHeader
	sum       hash.Hash // of the decoded block; nil without check
}

// counter counts what is read.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// outside is the value of xzReader.check between two streams.
const outside = 0xff

// newXZReader decodes a file that is expected to contain size bytes.
func newXZReader(r io.Reader, size int64) *xzReader {
	buffered, ok := r.(*bufio.Reader)
	if !ok {
		buffered = bufio.NewReader(r)
	}
	// Nothing can be further back than the beginning.
	x := &xzReader{in: counter{r: buffered}, dict: min(size, maxDict), check: outside}
	x.dec = lzma2Readers.Get().(*lzma2Reader)
	x.dec.in = &x.in
	return x
}

// Close gives the memory back. Nothing can be read afterwards.
func (x *xzReader) Close() error {
	if x.dec != nil {
		*x.dec = lzma2Reader{dec: x.dec.dec}
		lzma2Readers.Put(x.dec)
		x.dec, x.err = nil, os.ErrClosed
	}
	return nil
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if !x.within {
			x.err = x.next()
			continue
		}
		n, err := x.dec.Read(p)
		x.blockSize += int64(n)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		switch {
		case err == io.EOF:
			x.err = x.endBlock()
		case err != nil:
			x.err = err
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next goes on to the next block. It returns io.EOF where a file may end.
func (x *xzReader) next() error {
	if x.check == outside {
		return x.startStream()
	}
	first, err := x.in.ReadByte()
	if err != nil {
		return cutOff(err)
	}
	if first == 0 {
		return x.endStream()
	}
	return x.startBlock(first)
}

func (x *xzReader) startStream() error {
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(&x.in, header[:4]); err != nil {
		if err == io.EOF && x.streams > 0 {
			return io.EOF
		}
		return cutOff(err)
	}
	if padding := header[:4]; x.streams > 0 && bytes.Equal(padding, make([]byte, 4)) {
		return nil
	}
	if _, err := io.ReadFull(&x.in, header[4:]); err != nil {
		return cutOff(err)
	}
	if !validHeader(header) {
		return errors.New("xz: bad stream header")
	}
	x.streams, x.check, x.blocks = x.streams+1, header[7], 0
	return nil
}

func (x *xzReader) startBlock(first byte) error {
	from := x.in.n - 1
	header := make([]byte, (int(first)+1)*4)
	header[0] = first
	if _, err := io.ReadFull(&x.in, header[1:]); err != nil {
		return cutOff(err)
	}
	h, err := parseBlockHeader(header)
	if err != nil {
		return err
	}
	if h.dict > maxDict {
		return fmt.Errorf("xz: dictionary of %d bytes (limit %d bytes)", h.dict, maxDict)
	}
	x.want, x.blockFrom, x.blockSize = h, from+int64(len(header)), 0
	x.sum = newCheck(x.check)
	x.within = true
	return x.dec.start(min(x.dict, h.dict))
}

func (x *xzReader) endBlock() error {
	packed := x.in.n - x.blockFrom
	if x.want.packed >= 0 && x.want.packed != packed || x.want.unpacked >= 0 && x.want.unpacked != x.blockSize {
		return errors.New("xz: block is not as long as its header says")
	}
	padding := make([]byte, -packed&3)
	if _, err := io.ReadFull(&x.in, padding); err != nil {
		return cutOff(err)
	}
	if bytes.ContainsFunc(padding, func(r rune) bool { return r != 0 }) {
		return errors.New("xz: bad block padding")
	}
	if x.sum != nil {
		sum := make([]byte, x.sum.Size())
		if _, err := io.ReadFull(&x.in, sum); err != nil {
			return cutOff(err)
		}
		if !bytes.Equal(sum, checkValue(x.sum)) {
			return errors.New("xz: block does not match its check value")
		}
	}
	x.within = false
	x.blocks++
	return nil
}

// endStream reads the index, of which the first byte has been read, and the footer.
// The sizes in the index are of no interest: NAR size and NAR hash say more.
func (x *xzReader) endStream() error {
	index := &sumReader{in: &x.in, sum: crc32.NewIEEE()}
	index.sum.Write([]byte{0})
	from := x.in.n - 1
	records, err := binary.ReadUvarint(index)
	if err != nil {
		return cutOff(err)
	}
	if records != x.blocks {
		return fmt.Errorf("xz: index has %d records for %d blocks", records, x.blocks)
	}
	for range 2 * records {
		if _, err := binary.ReadUvarint(index); err != nil {
			return cutOff(err)
		}
	}
	for (x.in.n-from)%4 != 0 {
		switch b, err := index.ReadByte(); {
		case err != nil:
			return cutOff(err)
		case b != 0:
			return errors.New("xz: bad index padding")
		}
	}
	var tail [16]byte // check value of the index, and the footer
	size := x.in.n - from + 4
	if _, err := io.ReadFull(&x.in, tail[:]); err != nil {
		return cutOff(err)
	}
	footer := tail[4:]
	switch {
	case binary.LittleEndian.Uint32(tail[:]) != index.sum.Sum32():
		return errors.New("xz: index does not match its check value")
	case binary.LittleEndian.Uint32(footer) != crc32.ChecksumIEEE(footer[4:10]):
		return errors.New("xz: footer does not match its check value")
	case (int64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != size,
		footer[8] != 0, footer[9] != x.check, footer[10] != 'Y', footer[11] != 'Z':
		return errors.New("xz: bad footer")
	}
	x.check = outside
	return nil
}
