package layers

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Read calls visit for every entry of a layer's archive, then reads on to the
// end of the layer and holds its bytes against its digest. What visit was given
// counts only if the error is nil.
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
	sum := sha256.New()
	whole := io.TeeReader(blob, sum)
	plain, err := Decompress(media, whole)
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := visitAll(tar.NewReader(plain), visit); err != nil {
		return err
	}
	// An archive may end before its layer does.
	for _, rest := range []io.Reader{plain, whole} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
	if got := toV1(sum); got != want {
		return fmt.Errorf("layer %s: its bytes have the digest %s", want, got)
	}
	return nil
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
