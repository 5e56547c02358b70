// Package archive reads images that somebody else built: docker archives, OCI
// layouts and what Nix leaves of an image.
//
// Nothing of them is trusted. What is read into memory is bounded, names lead
// nowhere but to members of the archive, and whoever reads a layer holds its
// bytes against the diffID that the image's configuration promises.
package archive

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image that somebody else built. Its layers are not read yet.
type Image struct {
	Config   []byte      // as its maker wrote it
	Platform v1.Platform // as the configuration says; fields may be empty
	Names    []string    // that its maker gave it, such as app:latest; may be none
	Layers   []Layer     // bottom first, one for each diffID of the configuration

	// Manifest is the image's manifest as its maker wrote it, and Media its
	// type. It is nil where there is none: then one has to be made.
	Manifest []byte
	Media    types.MediaType

	// Annotations are those of the image's entry in an index.
	Annotations map[string]string
}

// Layer is a layer of an image that somebody else built.
type Layer struct {
	DiffID v1.Hash // promised by the configuration
	From   string  // where it lies, for errors: a member of an archive, or store paths

	// Open opens the layer from its beginning: a tar archive, or one that its
	// maker has compressed with gzip or zstd, as its first bytes say. It is nil
	// for a layer that could be read but once, and was given to Take.
	Open func(context.Context) (io.ReadCloser, error)

	// Blob is what the image's manifest promises of the bytes that Open gives;
	// nil where there is no manifest.
	Blob *v1.Descriptor
}

// Take takes a layer that can be read but once, and tells what it is. From says
// for errors where it lies. Guess is the digest that its name gives it, of its
// bytes or of the tar archive in them; else it is the zero value.
type Take func(ctx context.Context, from string, guess v1.Hash, layer io.Reader) (Taken, error)

// Taken is what a layer turned out to be.
type Taken struct {
	Digest v1.Hash // of its bytes
	DiffID v1.Hash // of the tar archive in them
}

// Source is where images are read from.
type Source interface {
	// Images reads what there is. Layers that can be read but once are given
	// to take, all others are left to be opened.
	Images(ctx context.Context, take Take) (Set, error)
	Close() error
}

// Set is what a source has.
type Set struct {
	Images []Image // one for each platform, in the order of the source

	// Attached are manifests that say something of the images, such as where
	// they were built: images in form, for no platform.
	Attached []Image

	// Index is the index that has all of these, as its maker wrote it, and Media
	// its type. It is nil where there is none.
	Index []byte
	Media types.MediaType
}
