package binarycache

import (
	"compress/bzip2"
	"fmt"
	"io"

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
func decompress(r io.Reader, compression string, size int64) (io.Reader, error) {
	switch compression {
	case "none", "", "identity":
		return r, nil
	case "xz":
		return newXZReader(r, size), nil
	case "zstd":
		// Without concurrency the decoder has no goroutines, hence needs no closing.
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d, nil
	case "bzip2":
		return bzip2.NewReader(r), nil
	case "gzip", "x-gzip":
		d, err := gzip.NewReader(r)
		if err != nil {
			return nil, cutOff(err)
		}
		return d, nil
	case "br":
		return brotli.NewReader(r), nil
	}
	return nil, fmt.Errorf("unknown compression %q (want xz, zstd, bzip2, gzip, br or none)", compression)
}
