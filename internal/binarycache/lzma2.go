package binarycache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/mikelolasagasti/xz"
)

// lzma2Reader decodes the chunks of one block, as they are described below
// "LZMA2" in the text of xz's specification and in liblzma/lzma/lzma2_decoder.c.
//
// Package xz decodes whole files only, with as much dictionary as their headers ask
// for. It is given a file that is made up: headers that ask for as much dictionary
// as can be of use, and the chunks; never their end, so that what follows the block
// is left to be read.
type lzma2Reader struct {
	in  *counter
	dec *xz.Reader

	head             []byte // of the made-up file, still to be given
	packed, unpacked int    // bytes of the chunk to be given to dec, and to come from it
}

// lzma2Readers are readers at rest, with dictionaries of some megabytes.
var lzma2Readers = sync.Pool{New: func() any { return new(lzma2Reader) }}

// start begins to read a block, to its end. Nothing in the block is further back than
// dict bytes. The memory of the block before is used again: blocks can be many, and
// have a few bytes each.
func (r *lzma2Reader) start(dict int64) (err error) {
	r.head, r.packed, r.unpacked = fileHead(dict), 0, 0
	if r.dec == nil {
		r.dec, err = xz.NewReader(feed{r}, maxDict)
		return err
	}
	return r.dec.Reset(feed{r})
}

// Read returns io.EOF where the chunks end.
func (r *lzma2Reader) Read(p []byte) (int, error) {
	if r.unpacked == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.dec.Read(p[:min(len(p), r.unpacked)])
	r.unpacked -= n
	if err == nil && r.unpacked == 0 && r.packed > 0 {
		err = errChunk
	}
	return n, cutOff(err)
}

var errChunk = errors.New("xz: an LZMA2 chunk is not as long as it says")

// next looks at the header of the next chunk: how many bytes it has, with its header
// and without compression.
func (r *lzma2Reader) next() error {
	control, err := r.in.r.Peek(1)
	if err != nil {
		return cutOff(err)
	}
	length := 3 // of the header
	switch c := control[0]; {
	case c == 0:
		r.in.ReadByte()
		return io.EOF
	case c >= 0xc0:
		length = 6 // with properties
	case c >= 0x80:
		length = 5
	case c > 2:
		return errors.New("xz: bad LZMA2 chunk")
	}
	header, err := r.in.r.Peek(length)
	if err != nil {
		return cutOff(err)
	}
	size := int(binary.BigEndian.Uint16(header[1:])) + 1
	r.packed, r.unpacked = length+size, size
	if c := header[0]; c >= 0x80 {
		r.unpacked += int(c&0x1f) << 16
		r.packed = length + int(binary.BigEndian.Uint16(header[3:])) + 1
	}
	return nil
}

// feed is the made-up file. Between chunks it has nothing: dec asks although it has
// something left to decode, and gives up if it has not.
type feed struct{ r *lzma2Reader }

func (f feed) Read(p []byte) (n int, err error) {
	switch r := f.r; {
	case len(r.head) > 0:
		n = copy(p, r.head)
		r.head = r.head[n:]
	case r.packed > 0:
		n, err = r.in.Read(p[:min(len(p), r.packed)])
		r.packed -= n
		err = cutOff(err)
	}
	return n, err
}

// fileHead is the header of a file without check values, and that of its one block:
// the size of that header, flags, a filter with one byte of properties, padding.
func fileHead(dict int64) []byte {
	head := []byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 0}
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(head[6:]))
	block := []byte{2, 0, lzma2, 1, dictCode(dict), 0, 0, 0}
	block = binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(block))
	return append(head, block...)
}

// maxDictCode is the code of the largest dictionary, of 4 GiB less one byte.
const maxDictCode = 40

// dictSize is the dictionary that a code stands for, in bytes.
func dictSize(code byte) (int64, error) {
	switch {
	case code > maxDictCode:
		return 0, errors.New("xz: invalid dictionary size")
	case code == maxDictCode:
		return 1<<32 - 1, nil
	}
	return (2 + int64(code&1)) << (code/2 + 11), nil
}

// dictCode is the code of the smallest dictionary with at least that many bytes.
func dictCode(size int64) (code byte) {
	for have, _ := dictSize(code); have < size && code < maxDictCode; have, _ = dictSize(code) {
		code++
	}
	return code
}
