// Package registry publishes images and indexes and reads them back: from registries that
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
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrNotFound says that the repository has no such tag or digest.
var ErrNotFound = errors.New("not found")

// Outcome is how something came to be in a repository.
type Outcome string

// Outcomes of what was pushed.
const (
	Present Outcome = "present" // it was there
	Mounted Outcome = "mounted" // the registry took it from another repository
	Sent    Outcome = "sent"
)

// Manifest is that of an image or an index.
type Manifest interface {
	partial.WithRawManifest
	partial.Describable
}

// RawManifest returns the manifest that has these bytes.
func RawManifest(raw []byte, media types.MediaType) Manifest { return rawManifest{raw, media} }

type rawManifest struct {
	raw   []byte
	media types.MediaType
}

func (m rawManifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return m.media, nil }
func (m rawManifest) Digest() (v1.Hash, error)            { return partial.Digest(m) }
func (m rawManifest) Size() (int64, error)                { return int64(len(m.raw)), nil }

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

	// Describe tells what a tag or digest leads to: type, size and digest of a
	// manifest; or ErrNotFound.
	Describe(ctx context.Context, tag string) (v1.Descriptor, error)

	// Image returns the image of one system by its digest, or ErrNotFound.
	Image(ctx context.Context, digest v1.Hash) (v1.Image, error)

	// PushImage makes sure that the image of one system is there, under its
	// digest only. Of blobs that were pushed a moment ago it takes the caller's
	// word.
	PushImage(ctx context.Context, img v1.Image, pushed ...v1.Hash) error

	// Push makes sure that all blobs and manifests of the index are there,
	// the index itself included, under its digest only. What is there
	// already is not sent again, and for blobs that were pushed a moment ago it
	// does not even ask.
	Push(ctx context.Context, index v1.ImageIndex, pushed ...v1.Hash) error

	// HasBlob tells whether a blob is there.
	HasBlob(ctx context.Context, digest v1.Hash, size int64) (bool, error)

	// PushBlob makes sure that a blob is there, and tells how it came there.
	PushBlob(ctx context.Context, layer v1.Layer) (Outcome, error)

	// SendBlob is PushBlob without the question whether the blob is there, which takes
	// as long as to send a small one: for what was made just now.
	SendBlob(ctx context.Context, layer v1.Layer) (Outcome, error)

	// PushManifest makes sure that a manifest is there, under its digest only.
	// What it names has to be there.
	PushManifest(ctx context.Context, m Manifest) (Outcome, error)

	// Tag makes the tag point to an image or index that was pushed. Where the
	// tag leads to something else that must not be written over, the error is an
	// *ImmutableTagError.
	Tag(ctx context.Context, m Manifest, tag string) error

	// Attach makes sure that artifacts are among what refers to a manifest, which
	// need not be there yet, and tells how many were not. The registry lists them;
	// one that cannot has them listed under the subject's ReferrersTag.
	Attach(ctx context.Context, subject v1.Descriptor, artifacts ...Artifact) (sent int, err error)

	// Referrers lists what refers to a manifest, with the type of each artifact.
	Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error)

	// Missing lists what is not there of a digest and all that is below it: the
	// digest itself, manifests, configurations and layers, none of which is
	// fetched but the manifests. Nothing is missing of what is whole.
	Missing(ctx context.Context, digest v1.Hash) ([]v1.Hash, error)

	// CanPush finds out whether something may be pushed, and leaves nothing
	// behind. Where the repository has to be made by somebody first, the error
	// is a *NoRepositoryError.
	CanPush(ctx context.Context) error
}
