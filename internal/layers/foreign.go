package layers

import (
	"bufio"
	"crypto/sha256"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layers that somebody else made are tar archives, or compressed ones. What is
// compressed stays as it is, byte for byte: to compress it anew takes time, and
// gives the same files another digest.

// enough to tell a compression by, and a good size to read by
const (
	magic   = 4
	reading = 128 << 10
)

// Foreign makes a layer of one that somebody else made. It need not be an archive:
// nothing in it is read.
func (p Packer) Foreign(r io.Reader) (*Layer, error) {
	from := bufio.NewReaderSize(r, reading)
	media, err := compression(from)
	if err != nil {
		return nil, err
	}
	if media == types.OCIUncompressedLayer {
		return p.compress(gzipOther, func(w io.Writer) error {
			_, err := io.Copy(w, from)
			return err
		})
	}
	return p.spool(func(w io.Writer) (*Layer, error) {
		diffID, err := inflated(media, io.TeeReader(from, w))
		return &Layer{diffID: diffID, media: media, Kept: true}, err
	})
}

// Identity is what the bytes of a layer say of it.
type Identity struct {
	Digest, DiffID v1.Hash
	Size           int64
	Media          types.MediaType
	Behind         bool // something lies behind the end of the archive; Scan tells
}

// Identify reads a layer that somebody else made, and keeps nothing of it.
func Identify(r io.Reader) (Identity, error) {
	from := bufio.NewReaderSize(r, reading)
	media, err := compression(from)
	if err != nil {
		return Identity{}, err
	}
	digest := sha256.New()
	blob := &sink{w: digest}
	if media == types.OCIUncompressedLayer {
		_, err := io.Copy(blob, from)
		return Identity{Digest: toV1(digest), DiffID: toV1(digest), Size: blob.n, Media: media}, err
	}
	diffID, err := inflated(media, io.TeeReader(from, blob))
	return Identity{Digest: toV1(digest), DiffID: diffID, Size: blob.n, Media: media}, err
}

func compression(from *bufio.Reader) (types.MediaType, error) {
	begin, err := from.Peek(magic)
	if err == io.EOF {
		err = nil
	}
	return Compression(begin), err
}

// inflated reads a compressed layer to its end, and returns the diffID.
func inflated(media types.MediaType, r io.Reader) (v1.Hash, error) {
	plain, err := Decompress(media, r)
	if err != nil {
		return v1.Hash{}, err
	}
	defer plain.Close()
	diffID := sha256.New()
	if _, err := io.Copy(diffID, plain); err != nil {
		return v1.Hash{}, err
	}
	_, err = io.Copy(io.Discard, r) // a decompressor may stop before the end
	return toV1(diffID), err
}

// Given returns a layer whose bytes are known by a descriptor.
func Given(desc v1.Descriptor, diffID v1.Hash, open func() (io.ReadCloser, error)) *Layer {
	return &Layer{
		digest: desc.Digest, diffID: diffID, size: desc.Size, media: desc.MediaType, open: open,
		inflate: func(r io.Reader) (io.ReadCloser, error) { return Decompress(desc.MediaType, r) },
	}
}
