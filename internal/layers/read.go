package layers

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Read calls visit for every entry of the archive of a layer that the factory makes,
// then reads on to the end of the layer and holds its bytes against its digest. What
// visit was given counts only if the error is nil.
func Read(layer v1.Layer, visit func(*tar.Header, io.Reader) error) error {
	want, err := layer.Digest()
	if err != nil {
		return err
	}
	media, err := layer.MediaType()
	if err != nil {
		return err
	}
	blob, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer blob.Close()
	got, err := Scan(blob, media, math.MaxInt64, visit)
	if err == nil && got.Digest != want {
		err = fmt.Errorf("layer %s: its bytes have the digest %s", want, got.Digest)
	}
	return err
}

// TooLargeError says that a layer unpacks to more than it may.
type TooLargeError struct{ Most int64 }

func (e *TooLargeError) Error() string { return fmt.Sprintf("unpacks to more than %d bytes", e.Most) }

// Scan calls visit for every entry of the archive of a layer that the factory makes,
// and reads on to the end of the layer also behind an error of the archive or of
// visit. The identity is that of all its bytes; it is zero when they could not be read
// to their end, or when the layer unpacks to more than most bytes.
func Scan(blob io.Reader, media types.MediaType, most int64, visit func(*tar.Header, io.Reader) error) (Identity, error) {
	digest, diffID := sha256.New(), sha256.New()
	packed := &sink{w: digest}
	whole := io.TeeReader(blob, packed)
	plain, err := decompress(media, whole, ownWindow)
	if err != nil {
		return Identity{}, err
	}
	defer plain.Close()
	inner := io.TeeReader(&bounded{r: plain, left: most, err: &TooLargeError{most}}, diffID)
	wrong := visitAll(tar.NewReader(inner), visit)
	// An archive may end before its layer does.
	var behind padding
	for _, rest := range []io.Reader{io.TeeReader(inner, &behind), whole} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return Identity{}, cmp.Or(wrong, err)
		}
	}
	return Identity{Digest: toV1(digest), DiffID: toV1(diffID), Size: packed.n, Media: media, Behind: bool(behind) && wrong == nil}, wrong
}

// padding is true once there was something else than zeros.
type padding bool

func (b *padding) Write(p []byte) (int, error) {
	*b = *b || len(bytes.TrimLeft(p, "\x00")) > 0
	return len(p), nil
}

// bounded reads at most left bytes of r and then returns err unless r ends there.
type bounded struct {
	r    io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}

func visitAll(archive *tar.Reader, visit func(*tar.Header, io.Reader) error) error {
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(h, archive); err != nil {
			return err
		}
	}
}
