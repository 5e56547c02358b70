package binarycache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"
)

// lzma2 is the id of the filter that compresses; the others (BCJ, delta) prepare data for it.
const lzma2 = 0x21

// headerLen is the length of a stream's header.
const headerLen = 12

// How the blocks of a stream are checked.
const (
	checkNone   = 0
	checkCRC32  = 1
	checkCRC64  = 4
	checkSHA256 = 10
)

// validHeader tells whether these bytes are a stream's header with a check that is
// known.
func validHeader(header []byte) bool {
	switch header[7] {
	case checkNone, checkCRC32, checkCRC64, checkSHA256:
	default:
		return false
	}
	return string(header[:6]) == "\xfd7zXZ\x00" && header[6] == 0 &&
		binary.LittleEndian.Uint32(header[8:]) == crc32.ChecksumIEEE(header[6:8])
}

// blockHeader is what precedes the data of a block.
type blockHeader struct {
	packed, unpacked int64 // bytes of the block; -1 unknown
	dict             int64 // bytes of dictionary
}

// parseBlockHeader reads a header of which the length is known to be right.
func parseBlockHeader(data []byte) (blockHeader, error) {
	h := blockHeader{packed: -1, unpacked: -1}
	body, sum := data[1:len(data)-4], data[len(data)-4:]
	if crc32.ChecksumIEEE(data[:len(data)-4]) != binary.LittleEndian.Uint32(sum) {
		return h, errors.New("xz: block header does not match its check value")
	}
	flags := body[0]
	if flags&0x3f != 0 {
		return h, errors.New("xz: filters other than LZMA2 are not supported")
	}
	fields := bytes.NewReader(body[1:])
	var err error
	if flags&0x40 != 0 {
		h.packed, err = readSize(fields)
	}
	if flags&0x80 != 0 && err == nil {
		h.unpacked, err = readSize(fields)
	}
	var filter [3]byte // id, number of property bytes, property
	if err == nil {
		_, err = io.ReadFull(fields, filter[:])
	}
	if err != nil {
		return h, errors.New("xz: block header is too short")
	}
	if filter[0] != lzma2 || filter[1] != 1 {
		return h, errors.New("xz: filters other than LZMA2 are not supported")
	}
	h.dict, err = dictSize(filter[2])
	return h, err
}

func readSize(r io.ByteReader) (int64, error) {
	size, err := binary.ReadUvarint(r)
	if size >= 1<<62 {
		err = errors.New("xz: size out of range")
	}
	return int64(size), err
}

// newCheck returns the hash by which the blocks of a stream are checked, nil for none.
func newCheck(kind byte) hash.Hash {
	switch kind {
	case checkCRC32:
		return crc32.NewIEEE()
	case checkCRC64:
		return crc64.New(crc64.MakeTable(crc64.ECMA))
	case checkSHA256:
		return sha256.New()
	}
	return nil
}

// checkValue returns a hash in the byte order of the format: little endian but for SHA-256.
func checkValue(h hash.Hash) []byte {
	sum := h.Sum(nil)
	if h.Size() < sha256.Size {
		slices.Reverse(sum)
	}
	return sum
}

// sumReader computes the check value of what it reads.
type sumReader struct {
	in  io.ByteReader
	sum hash.Hash32
}

func (r *sumReader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err == nil {
		r.sum.Write([]byte{b})
	}
	return b, err
}

func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
