package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image reads an image that the layout's index need not name.
func (l *layoutRepository) Image(_ context.Context, digest v1.Hash) (v1.Image, error) {
	raw, err := os.ReadFile(filepath.Join(l.blobs(), digest.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", l.Ref(digest.String()), ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != digest {
		return nil, fmt.Errorf("%s: its bytes have the digest %s", l.Ref(digest.String()), got)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Ref(digest.String()), err)
	}
	return partial.CompressedToImage(&blobImage{blobs: l.blobs(), raw: raw, manifest: manifest})
}

// blobImage is an image in a folder of blobs.
type blobImage struct {
	blobs    string
	raw      []byte
	manifest *v1.Manifest
}

func (i *blobImage) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *blobImage) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *blobImage) RawConfigFile() ([]byte, error) {
	return os.ReadFile(filepath.Join(i.blobs, i.manifest.Config.Digest.Hex))
}

func (i *blobImage) Manifest() (*v1.Manifest, error)     { return i.manifest, nil }
func (i *blobImage) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(i) }
func (i *blobImage) ConfigName() (v1.Hash, error)        { return i.manifest.Config.Digest, nil }

func (i *blobImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, desc := range i.manifest.Layers {
		if desc.Digest == h {
			return blobLayer{i, desc}, nil
		}
	}
	return nil, fmt.Errorf("the manifest names no layer %s", h)
}

// blobLayer is a layer in a folder of blobs.
type blobLayer struct {
	image *blobImage
	desc  v1.Descriptor
}

// DiffID is the one in the image's configuration; ggcr would otherwise
// decompress the layer to compute it.
func (l blobLayer) DiffID() (v1.Hash, error) { return partial.BlobToDiffID(l.image, l.desc.Digest) }

func (l blobLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l blobLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l blobLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l blobLayer) Compressed() (io.ReadCloser, error) {
	return os.Open(filepath.Join(l.image.blobs, l.desc.Digest.Hex))
}
