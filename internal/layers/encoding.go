package layers

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Encoding is how a layer's tar archive is compressed.
type Encoding string

const (
	// Gzip is read by every client there is.
	Gzip Encoding = "gzip"
	// Zstd is smaller and faster to unpack; clients older than Docker 23
	// cannot read it.
	Zstd Encoding = "zstd"
)

const (
	// tarFormat changes when the same objects are to give other tar bytes.
	tarFormat = 1

	// How hard gzip tries. Store paths of tools stay the same from commit to commit: their
	// layers are made and moved seldom, but then all at once, and somebody waits. All else
	// moves with each commit, or belongs to others. docs/performance.md has the numbers.
	gzipTools effort = 3
	gzipOther effort = 6
	gzipBlock        = 1 << 20

	// At once; of no effect on the bytes, but on memory and time.
	gzipBlocks = 16
	zstdStages = 2 // one block is searched for matches while another one is written

	// Versions of the compressors: another version may give other bytes.
	// A test holds them against go.mod.
	pgzipVersion    = "v1.3.0"
	compressVersion = "v1.20.3"
)

// effort is a level of gzip. It is of no effect on zstd, which has one for all.
type effort int

// Identity names everything that decides how a tar archive's content becomes a
// layer's bytes. It is part of every layer's key and of the recipe.
func (e Encoding) Identity() string {
	switch e {
	case Zstd:
		return fmt.Sprintf("tar=%d zstd=klauspost/compress@%s level=default", tarFormat, compressVersion)
	default:
		return fmt.Sprintf("tar=%d gzip=klauspost/pgzip@%s+compress@%s level=%d,%d block=%d",
			tarFormat, pgzipVersion, compressVersion, gzipTools, gzipOther, gzipBlock)
	}
}

// MediaType returns the media type of a layer in this encoding.
func (e Encoding) MediaType() types.MediaType {
	if e == Zstd {
		return types.OCILayerZStd
	}
	return types.OCILayer
}

// compress returns a writer that compresses into w. Its output depends on what
// is written, not on how it is cut into writes nor on the number of processors.
// It has to be closed, whatever happens.
func (e Encoding) compress(w io.Writer, level effort) (io.WriteCloser, error) {
	if e == Zstd {
		return newZstdWriter(w)
	}
	return newGzipWriter(w, level)
}

// Compressors at rest. Each has some megabytes, however small the layer that it
// makes, and to get these anew for each of an image's layers costs a tenth of the
// time that the image takes.
var (
	gzipWriters [pgzip.BestCompression + 1]sync.Pool // by level
	zstdWriters sync.Pool
)

type gzipWriter struct {
	*pgzip.Writer
	level effort
}

func newGzipWriter(w io.Writer, level effort) (gzipWriter, error) {
	z, ok := gzipWriters[level].Get().(*pgzip.Writer)
	if ok {
		z.Reset(w)
	} else {
		var err error
		if z, err = pgzip.NewWriterLevel(w, int(level)); err != nil {
			return gzipWriter{}, err
		}
	}
	// One more is compressed: the one that is waited for.
	return gzipWriter{z, level}, z.SetConcurrency(gzipBlock, min(max(1, runtime.GOMAXPROCS(0)-1), gzipBlocks))
}

// Close ends the stream. A compressor that failed is not used again.
func (z gzipWriter) Close() error {
	err := z.Writer.Close()
	z.Reset(io.Discard) // after an error, Close leaves a goroutine that waits for blocks
	if err == nil {
		gzipWriters[z.level].Put(z.Writer)
	}
	return err
}

type zstdWriter struct{ *zstd.Encoder }

func newZstdWriter(w io.Writer) (zstdWriter, error) {
	if z, ok := zstdWriters.Get().(*zstd.Encoder); ok {
		z.Reset(w)
		return zstdWriter{z}, nil
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(zstdStages))
	return zstdWriter{z}, err
}

// Close is that of a gzipWriter.
func (z zstdWriter) Close() error {
	err := z.Encoder.Close()
	if err == nil {
		z.Reset(io.Discard)
		zstdWriters.Put(z.Encoder)
	}
	return err
}

// What a zstd layer may make its reader keep in memory: whoever made it, and where
// it is one of the factory's own, whose windows have 8 MiB.
const (
	anyWindow = 128 << 20
	ownWindow = 16 << 20
)

// Decompress opens the tar archive in a layer of the given media type.
func Decompress(media types.MediaType, r io.Reader) (io.ReadCloser, error) {
	return decompress(media, r, anyWindow)
}

func decompress(media types.MediaType, r io.Reader, window uint64) (io.ReadCloser, error) {
	switch media {
	case types.OCILayerZStd:
		d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case types.OCILayer, types.DockerLayer:
		return pgzip.NewReader(r)
	case types.OCIUncompressedLayer, types.DockerUncompressedLayer:
		return io.NopCloser(r), nil
	default:
		return nil, fmt.Errorf("layer media type %q is not one that the factory reads", media)
	}
}

// Compression tells by the first bytes of a layer how it is compressed.
func Compression(begin []byte) types.MediaType {
	switch {
	case bytes.HasPrefix(begin, []byte("\x1f\x8b")):
		return types.OCILayer
	case bytes.HasPrefix(begin, []byte("\x28\xb5\x2f\xfd")):
		return types.OCILayerZStd
	}
	return types.OCIUncompressedLayer
}
