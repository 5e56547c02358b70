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
}

// Layer is a layer of an image that somebody else built.
type Layer struct {
	DiffID v1.Hash // promised by the configuration
	From   string  // where it lies, for errors: a member of an archive, or store paths

	// Open opens the tar archive, uncompressed, from its beginning. It is nil
	// for a layer that could be read but once, and was given to Take.
	Open func(context.Context) (io.ReadCloser, error)

	// Blob is the layer as it goes to a registry, where its maker has
	// compressed it already; else nil.
	Blob *Blob
}

// Blob is a compressed layer.
type Blob struct {
	Descriptor v1.Descriptor // promised by the manifest
	Open       func(context.Context) (io.ReadCloser, error)
}

// Take takes the tar archive of a layer that can be read but once, and returns
// its diffID. From says for errors where it lies. Guess is the diffID that the
// layer has if the name of its member says so, else the zero value.
type Take func(ctx context.Context, from string, guess v1.Hash, tar io.Reader) (v1.Hash, error)

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
