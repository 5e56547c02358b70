package image

import (
	"bytes"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Compose makes an OCI image of a configuration, which has no layers yet, and of
// layers with their history, the first at the bottom.
//
// Its documents are made once. An image of package mutate writes its configuration
// anew for each layer that it is asked for: to list 48 of them takes it 15 ms, and
// each cycle does so several times (BenchmarkLayers).
func Compose(config *v1.ConfigFile, stack []mutate.Addendum, annotations map[string]string) (v1.Image, error) {
	img, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
	if err != nil {
		return nil, err
	}
	if img, err = mutate.Append(img, stack...); err != nil {
		return nil, err
	}
	c := composed{Image: mutate.Annotations(img, annotations).(v1.Image)}
	for _, add := range stack {
		c.layers = append(c.layers, add.Layer)
	}
	if c.config, err = c.Image.RawConfigFile(); err != nil {
		return nil, err
	}
	if c.name, _, err = v1.SHA256(bytes.NewReader(c.config)); err != nil {
		return nil, err
	}
	if c.manifest, err = c.Image.RawManifest(); err != nil {
		return nil, err
	}
	c.digest, _, err = v1.SHA256(bytes.NewReader(c.manifest))
	return c, err
}

// composed is an image whose documents and layers are at hand.
type composed struct {
	v1.Image
	config, manifest []byte
	name, digest     v1.Hash // of these
	layers           []v1.Layer
}

func (c composed) RawConfigFile() ([]byte, error) { return slices.Clone(c.config), nil }
func (c composed) ConfigName() (v1.Hash, error)   { return c.name, nil }
func (c composed) RawManifest() ([]byte, error)   { return slices.Clone(c.manifest), nil }
func (c composed) Digest() (v1.Hash, error)       { return c.digest, nil }
func (c composed) Size() (int64, error)           { return int64(len(c.manifest)), nil }
func (c composed) Layers() ([]v1.Layer, error)    { return slices.Clone(c.layers), nil }
