// Package layers turns store objects into the layers of an OCI image: groups of
// store paths become deterministic, compressed tar archives (Packer), each with a
// key that says what is in it.
//
// The same objects give the same bytes on every machine: owner, modes and times
// are fixed, entries come in a fixed order, and the compressor and its settings
// are part of the key. A layer is complete only after every NAR in it was
// held against its hash; until then nobody sees it.
package layers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Annotations of a layer's descriptor in the image manifest.
const (
	// KeyAnnotation holds the layer's Key.
	KeyAnnotation = "io.github.nixpkgs-factory.layer.key"
	// PathsAnnotation holds the base names of the store paths in the
	// layer, separated by spaces.
	PathsAnnotation = "io.github.nixpkgs-factory.layer.paths"
)

// MaxClosureLayers is how many layers the closure may take. With the source and the
// root file system an image has at most 48 layers. Engines allow about 127, but
// buildah 1.28 of Debian 12 does not mount a container of more than some 57 layers
// twice: overlayfs takes a page of options, and each layer is named with its path.
const MaxClosureLayers = 46

// Layer is a finished layer. It is a v1.Layer.
type Layer struct {
	Key       Key      // empty for the root file system's layer
	Paths     []string // base names of the store paths in it, in order
	CreatedBy string   // for the image's history
	Kept      bool     // somebody else has compressed it

	digest, diffID v1.Hash
	size           int64
	media          types.MediaType
	open           func() (io.ReadCloser, error) // compressed bytes
	file           string                        // that holds them; "" where none does
	remote         v1.Layer                      // set for a layer that a registry has
	inflate        func(io.Reader) (io.ReadCloser, error)

	// Listings holds the files and links of the store objects whose
	// listing was asked for when the layer was packed.
	Listings map[nix.StorePath][]string
}

// Found returns the layer that a registry already has, as the image's
// configuration and manifest describe it. Its bytes are read from there only if
// another destination needs them.
func Found(key Key, paths []string, diffID v1.Hash, layer v1.Layer) (*Layer, error) {
	for _, name := range paths {
		if _, err := nix.ParseStorePathBase(name); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", PathsAnnotation, err)
		}
	}
	l := &Layer{Key: key, Paths: paths, CreatedBy: createdBy(paths), diffID: diffID, remote: layer}
	l.open = func() (io.ReadCloser, error) {
		rc, err := layer.Compressed()
		if err != nil {
			return nil, &LostError{Digest: l.digest, Err: err}
		}
		return &proving{ReadCloser: rc, want: l.digest, sum: sha256.New()}, nil
	}
	var err error
	if l.digest, err = layer.Digest(); err != nil {
		return nil, err
	}
	if l.size, err = layer.Size(); err != nil {
		return nil, err
	}
	if l.media, err = layer.MediaType(); err != nil {
		return nil, err
	}
	l.inflate = func(r io.Reader) (io.ReadCloser, error) { return Decompress(l.media, r) }
	return l, nil
}

// LostError says that a layer which a registry's manifest names cannot be read
// there.
type LostError struct {
	Digest v1.Hash
	Err    error
}

func (e *LostError) Error() string { return fmt.Sprintf("layer %s: %v", e.Digest, e.Err) }
func (e *LostError) Unwrap() error { return e.Err }

// proving reads a found layer and holds it against its digest.
type proving struct {
	io.ReadCloser
	want v1.Hash
	sum  hash.Hash
}

func (p *proving) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.sum.Write(b[:n])
	if err == io.EOF && toV1(p.sum) != p.want {
		return n, &LostError{Digest: p.want, Err: fmt.Errorf("its bytes have the digest %s", toV1(p.sum))}
	}
	if err != nil && err != io.EOF {
		return n, &LostError{Digest: p.want, Err: err}
	}
	return n, err
}

// Blob returns the layer in the form that pushes best: one that a registry has
// can be mounted there into another repository.
func (l *Layer) Blob() v1.Layer {
	if mountable, ok := l.remote.(*remote.MountableLayer); ok {
		return &remote.MountableLayer{Layer: l, Reference: mountable.Reference}
	}
	return l
}

// Made tells whether the layer was made here and now, and not found in a registry.
func (l *Layer) Made() bool { return l.file != "" }

// Drop removes the file of a layer that is elsewhere by now, so that a disk need not
// hold all layers of an image. Who opens the layer afterwards gets a *LostError.
func (l *Layer) Drop() error {
	if l.file == "" {
		return nil
	}
	file := l.file
	l.file = ""
	l.open = func() (io.ReadCloser, error) {
		return nil, &LostError{Digest: l.digest, Err: errors.New("it was made and sent, and is not kept on this machine")}
	}
	return os.Remove(file)
}

// Reused tells whether the layer was not made but found in a registry.
func (l *Layer) Reused() bool { return l.remote != nil }

// Digest returns the digest of the compressed bytes.
func (l *Layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID returns the digest of the tar archive.
func (l *Layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size returns the number of compressed bytes.
func (l *Layer) Size() (int64, error) { return l.size, nil }

// MediaType returns the OCI media type that names the compression.
func (l *Layer) MediaType() (types.MediaType, error) { return l.media, nil }

// Compressed opens the layer's blob.
func (l *Layer) Compressed() (io.ReadCloser, error) { return l.open() }

// Uncompressed opens the tar archive.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	rc, err := l.open()
	if err != nil {
		return nil, err
	}
	inner, err := l.inflate(rc)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return closeBoth{inner, rc}, nil
}

// Annotations returns what the manifest's descriptor says of the layer.
func (l *Layer) Annotations() map[string]string {
	if l.Key == "" {
		return nil
	}
	return map[string]string{KeyAnnotation: string(l.Key), PathsAnnotation: strings.Join(l.Paths, " ")}
}

type closeBoth struct {
	io.ReadCloser
	under io.Closer
}

func (c closeBoth) Close() error {
	err := c.ReadCloser.Close()
	if under := c.under.Close(); err == nil {
		err = under
	}
	return err
}

// Key says what is in a layer: "sha256:" and 64 hex digits over one line for the
// encoding and one line for each object, in their order, with its base name, NAR
// hash and NAR size. None of these can hold a space or a newline. It is compared
// and never taken apart.
type Key string

// KeyOf returns the key of the layer that holds objects in this order, in this
// encoding.
func KeyOf(encoding Encoding, objects []nix.PathInfo) Key {
	return key(encoding.Identity(), objects)
}

// LinkedKeyOf is KeyOf for the layer that Linked packs.
func LinkedKeyOf(encoding Encoding, objects []nix.PathInfo) Key {
	return key(encoding.Identity()+" linked", objects)
}

func key(identity string, objects []nix.PathInfo) Key {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", identity)
	for _, o := range objects {
		fmt.Fprintf(h, "%s %s %d\n", o.Path.Base(), o.NarHash.Base16(), o.NarSize)
	}
	return Key("sha256:" + hex.EncodeToString(h.Sum(nil)))
}

func baseNames(objects []nix.PathInfo) []string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Path.Base()
	}
	return names
}

func openFile(path string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}
