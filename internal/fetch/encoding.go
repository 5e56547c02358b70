package fetch

import (
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// acceptedEncodings is what Get offers. Caches on plain object storage send what they
// have, asked for or not, and Nix uploads small files with brotli or zstd where told to.
const acceptedEncodings = "gzip"

// maxWindow bounds the memory of a decoder.
const maxWindow = 8 << 20

// readDecoded reads a body of which the decoded form has at most max bytes.
func readDecoded(r io.Reader, encoding string, max int64) ([]byte, error) {
	decoded, err := decode(r, encoding)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(decoded, max+1))
	switch {
	case err != nil && encoding != "":
		return nil, fmt.Errorf("%w %s: %w", errEncoding, encoding, err)
	case err != nil:
		return nil, err
	case int64(len(data)) > max:
		return nil, tooLarge(max)
	}
	return data, nil
}

func decode(r io.Reader, encoding string) (io.Reader, error) {
	var decoded io.Reader
	var err error
	switch strings.ToLower(encoding) {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		decoded, err = gzip.NewReader(r)
	case "br":
		decoded = brotli.NewReader(r)
	case "zstd":
		// Without concurrency the decoder has no goroutines, hence needs no closing.
		decoded, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	default:
		return nil, fmt.Errorf("%w %q is unknown", errEncoding, encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errEncoding, encoding, err)
	}
	return decoded, nil
}
