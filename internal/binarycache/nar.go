package binarycache

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// bufferSize is that of the buffer between network and decoder.
const bufferSize = 128 << 10

// nar opens the NAR of an object that this cache described.
func (c *cache) nar(ctx context.Context, info nix.NARInfo) (*narReader, error) {
	where, err := c.narURL(info.URL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, said.Error(err))
	}
	body, err := c.fetch.Open(ctx, where, maxCompressed(info))
	if err != nil {
		return nil, c.named(err, "")
	}
	r := &narReader{cache: c, info: info, where: fetch.Redact(where), left: info.NarSize}
	r.file = &compressed{body: body, sum: sha256.New()}
	r.encoded = body.Encoding() != ""
	if err := r.decode(body.Encoding(), info.Compression); err != nil {
		r.Close()
		return nil, c.named(said.Error(err), r.where)
	}
	return r, nil
}

// decode has the file decompressed, by one compression after the other.
func (r *narReader) decode(compressions ...string) error {
	r.plain = bufio.NewReaderSize(r.file, int(min(bufferSize, maxCompressed(r.info))))
	for _, compression := range compressions {
		if uncompressed(compression) {
			continue // decoders of what has no buffer make one of their own
		}
		decoder, err := decompress(r.plain, compression, r.info.NarSize)
		if err != nil {
			return err
		}
		r.plain, r.decoders = decoder, append(r.decoders, decoder)
	}
	return nil
}

// maxCompressed bounds the bytes of a compressed NAR. No compressor makes
// its input noticeably longer, so the signed size bounds the unsigned one.
func maxCompressed(info nix.NARInfo) int64 {
	size := min(info.NarSize, 1<<50)
	limit := size + size/16 + 64<<10
	if info.FileSize > 0 {
		return min(limit, info.FileSize)
	}
	return limit
}

// named makes an error name the cache and what was read, unless it does so itself.
func (c *cache) named(err error, where string) error {
	var request *fetch.Error
	if errors.As(err, &request) {
		where = request.URL
	} else if where != "" {
		err = fmt.Errorf("%s: %w", where, err)
	}
	if strings.HasPrefix(where, c.name+"/") {
		return err
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// compressed is the body as it comes, counted and hashed.
type compressed struct {
	body *fetch.Body
	size int64
	sum  hash.Hash
}

func (f *compressed) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	f.size += int64(n)
	f.sum.Write(p[:n])
	return n, err
}

// narReader is a NAR being decompressed.
type narReader struct {
	cache   *cache
	info    nix.NARInfo
	where   string // URL for messages
	file    *compressed
	encoded bool // file is not what FileHash and FileSize are of
	plain   io.Reader
	left    int64 // bytes to come
	err     error
	doubt   func() // tells that the NAR is not as described

	decoders []io.Closer // plain is the last one, if there is one
}

func (r *narReader) Close() error {
	errs := []error{r.file.body.Close()}
	for _, decoder := range r.decoders {
		errs = append(errs, decoder.Close())
	}
	r.plain, r.decoders, r.err = nil, nil, cmp.Or(r.err, os.ErrClosed)
	return errors.Join(errs...)
}

// From returns the address of the NAR, for messages.
func (r *narReader) From() string { return r.where }

// Doubt says that the NAR is not as described.
func (r *narReader) Doubt() { r.doubt() }

// Read reads on. With the last byte of the NAR it looks whether both streams end there.
func (r *narReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.plain.Read(p)
	r.left -= int64(n)
	switch {
	case err == nil && r.left > 0:
		return n, nil
	case err == nil || err == io.EOF && r.left == 0:
		err = r.finish()
	case err == io.EOF:
		err = fmt.Errorf("NAR ends after %d of %d bytes: %w", r.info.NarSize-r.left, r.info.NarSize, io.ErrUnexpectedEOF)
	}
	if err == nil {
		r.err = io.EOF
		return n, io.EOF
	}
	r.err = r.explain(err)
	return n, r.err
}

// finish checks that nothing follows the NAR, and what the cache says of the compressed file.
// All decoders read their input to its end, to see whether another stream follows.
func (r *narReader) finish() error {
	var more [1]byte
	switch n, err := io.ReadFull(r.plain, more[:]); {
	case n > 0:
		return fmt.Errorf("NAR is longer than %d bytes", r.info.NarSize)
	case err != io.EOF:
		return err
	}
	if r.encoded {
		return nil
	}
	if r.info.FileSize > 0 && r.file.size != r.info.FileSize {
		return fmt.Errorf("file has %d bytes, narinfo says %d", r.file.size, r.info.FileSize)
	}
	// Nix itself never looks at FileHash, so one of another kind than it writes is no reason to refuse.
	want, err := nix.ParseHash(r.info.FileHash)
	if err == nil && nix.Hash(r.file.sum.Sum(nil)) != want {
		return fmt.Errorf("file hash is %s, narinfo says %s", nix.Hash(r.file.sum.Sum(nil)), want)
	}
	return nil
}

// explain adds path and cache to an error.
func (r *narReader) explain(err error) error {
	return fmt.Errorf("%s: %w", r.info.Path.Base(), r.cache.named(said.Error(err), r.where))
}
