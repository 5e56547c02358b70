// Package registry publishes indexes and reads them back: from registries that
// speak the OCI distribution protocol, and from OCI layout folders.
//
// "It is not there" (ErrNotFound) and "it cannot be asked" (any other error)
// are never confused: only the first one is a reason to build. A tag is set
// only after everything below it is there.
package registry

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrNotFound says that the repository has no such tag or digest.
var ErrNotFound = errors.New("not found")

// Repository is one repository in one registry or layout.
type Repository interface {
	// Ref returns the reference by which a client finds a tag or digest.
	Ref(tag string) string

	// Digest returns what a tag points to, or ErrNotFound.
	// A digest may stand for the tag here and in Index.
	Digest(ctx context.Context, tag string) (v1.Hash, error)

	// Index returns the index that a tag points to, or ErrNotFound. Its
	// blobs are read when they are asked for, as long as ctx lives.
	Index(ctx context.Context, tag string) (v1.ImageIndex, error)

	// Image returns the image of one system by its digest, or ErrNotFound.
	Image(ctx context.Context, digest v1.Hash) (v1.Image, error)

	// PushImage makes sure that the image of one system is there, under its
	// digest only.
	PushImage(ctx context.Context, img v1.Image) error

	// Push makes sure that all blobs and manifests of the index are there,
	// the index itself included, under its digest only. What is there
	// already is not sent again.
	Push(ctx context.Context, index v1.ImageIndex) error

	// Tag makes the tag point to an index that was pushed. Where the tag leads
	// to something else that must not be written over, the error is an
	// *ImmutableTagError.
	Tag(ctx context.Context, index v1.ImageIndex, tag string) error

	// Missing lists what is not there of a digest and all that is below it: the
	// digest itself, manifests, configurations and layers, none of which is
	// fetched but the manifests. Nothing is missing of what is whole.
	Missing(ctx context.Context, digest v1.Hash) ([]v1.Hash, error)

	// CanPush finds out whether something may be pushed, and leaves nothing
	// behind. Where the repository has to be made by somebody first, the error
	// is a *NoRepositoryError.
	CanPush(ctx context.Context) error
}
