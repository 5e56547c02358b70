package binarycache

import (
	"compress/bzip2"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a zstd decoder. It is the limit of the zstd
// program, hence enough for every level and for --long. Brotli has 16 MiB by
// its format, gzip and bzip2 less than 8 MiB.
const maxWindow = 128 << 20

// decompress undoes a Compression of a narinfo or an HTTP Content-Encoding.
// The decoded stream is expected to have size bytes; it may turn out to have fewer or more.
// All but brotli go on with a further stream behind the first one.
// Closing gives memory back, and closes nothing below.
func decompress(r io.Reader, compression string, size int64) (io.ReadCloser, error) {
	if uncompressed(compression) {
		return io.NopCloser(r), nil
	}
	switch compression {
	case "xz":
		return newXZReader(r, size), nil
	case "zstd":
		return newZstdReader(r)
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	case "gzip", "x-gzip":
		d, err := gzip.NewReader(r)
		if err != nil {
			return nil, cutOff(err)
		}
		return d, nil
	case "br":
		return io.NopCloser(brotli.NewReader(r)), nil
	}
	return nil, fmt.Errorf("unknown compression %q (want xz, zstd, bzip2, gzip, br or none)", compression)
}

func uncompressed(compression string) bool {
	return compression == "none" || compression == "" || compression == "identity"
}

// zstdDecoders are decoders at rest: each has a window of some megabytes, and a
// closure hundreds of NARs.
var zstdDecoders sync.Pool

type zstdReader struct{ *zstd.Decoder }

func newZstdReader(r io.Reader) (zstdReader, error) {
	if d, ok := zstdDecoders.Get().(*zstd.Decoder); ok {
		return zstdReader{d}, d.Reset(r)
	}
	// Without concurrency the decoder has no goroutines, hence may be forgotten.
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	return zstdReader{d}, err
}

func (r zstdReader) Close() error {
	if err := r.Reset(nil); err != nil {
		return err
	}
	zstdDecoders.Put(r.Decoder)
	return nil
}
