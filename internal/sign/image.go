package sign

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

const (
	payloadType = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	annotation  = "dev.cosignproject.cosign/signature"
)

// Tag is the tag that the signatures of a digest have.
func Tag(of v1.Hash) string { return registry.ReferrersTag(of) + ".sig" }

// payload is the text that is signed
// (https://github.com/containers/image/blob/main/docs/containers-signature.5.md).
type payload struct {
	Critical critical       `json:"critical"`
	Optional map[string]any `json:"optional"`
}

type critical struct {
	Identity identity `json:"identity"`
	Image    named    `json:"image"`
	Type     string   `json:"type"`
}

type identity struct {
	Reference string `json:"docker-reference"`
}

type named struct {
	Digest string `json:"docker-manifest-digest"`
}

const kind = "cosign container image signature"

// Signature is one of an image, which a key has made or may not have made.
type Signature struct {
	Reference string // repository that the image was signed in
	text      []byte
	sum       []byte
}

// By tells whether a key has made the signature.
func (s Signature) By(key PublicKey) bool { return key.verifies(s.text, s.sum) }

// Ensure makes sure that an image has a signature of a key in a repository, and
// tells whether it had none. Signatures by others stay.
func Ensure(ctx context.Context, repo registry.Repository, digest v1.Hash, key *Key) (sent bool, err error) {
	img, there, err := read(ctx, repo, digest)
	if err != nil {
		return false, err
	}
	for _, s := range there {
		if s.By(key.Public()) {
			return false, nil
		}
	}
	signed, err := add(img, where(repo, digest), digest, key)
	if err != nil {
		return false, err
	}
	if err := repo.PushImage(ctx, signed); err != nil {
		return false, err
	}
	return true, repo.Tag(ctx, signed, Tag(digest))
}

// List returns the signatures that a repository has of a digest: those that say that
// they are of it. Whose they are is still to be asked.
func List(ctx context.Context, repo registry.Repository, digest v1.Hash) ([]Signature, error) {
	_, list, err := read(ctx, repo, digest)
	return list, err
}

// read returns the image that has the signatures, an empty one if there is none.
func read(ctx context.Context, repo registry.Repository, digest v1.Hash) (v1.Image, []Signature, error) {
	at, err := repo.Digest(ctx, Tag(digest))
	if errors.Is(err, registry.ErrNotFound) {
		return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	img, err := repo.Image(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	list, err := signatures(img, digest)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", repo.Ref(Tag(digest)), err)
	}
	return img, list, nil
}

// Bounds of what is read.
const (
	maxSignatures = 100
	maxPayload    = 64 << 10
)

func signatures(img v1.Image, digest v1.Hash) ([]Signature, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if len(m.Layers) > maxSignatures {
		return nil, fmt.Errorf("%d signatures, more than %d", len(m.Layers), maxSignatures)
	}
	var list []Signature
	for _, desc := range m.Layers {
		sum, err := base64.StdEncoding.DecodeString(desc.Annotations[annotation])
		if desc.MediaType != payloadType || err != nil || len(sum) == 0 || desc.Size > maxPayload {
			continue // of another kind
		}
		text, err := content(img, desc)
		if err != nil {
			return nil, err
		}
		if reference, ok := parsePayload(text, digest); ok {
			list = append(list, Signature{reference, text, sum})
		}
	}
	return list, nil
}

func content(img v1.Image, desc v1.Descriptor) ([]byte, error) {
	layer, err := img.LayerByDigest(desc.Digest)
	if err != nil {
		return nil, err
	}
	rc, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, maxPayload))
}

// parsePayload tells whether a signed text is of a digest, and which repository it
// names.
func parsePayload(text []byte, digest v1.Hash) (reference string, ok bool) {
	var p payload
	if json.Unmarshal(text, &p) != nil {
		return "", false
	}
	return p.Critical.Identity.Reference, p.Critical.Type == kind && p.Critical.Image.Digest == digest.String()
}

// add adds a signature to the others.
func add(img v1.Image, reference string, digest v1.Hash, key *Key) (v1.Image, error) {
	text, err := json.Marshal(payload{Critical: critical{identity{reference}, named{digest.String()}, kind}})
	if err != nil {
		return nil, err
	}
	sum, err := key.sign(text)
	if err != nil {
		return nil, err
	}
	return mutate.Append(img, mutate.Addendum{
		Layer:       static.NewLayer(text, payloadType),
		Annotations: map[string]string{annotation: base64.StdEncoding.EncodeToString(sum)},
		MediaType:   payloadType,
	})
}

// where is the name of a repository, as verifiers compare it. A layout is a folder
// that may be anywhere; what is in it has names of its own.
func where(repo registry.Repository, digest v1.Hash) string {
	if f, ok := repo.(registry.Folder); ok {
		return f.Repository()
	}
	return strings.TrimSuffix(repo.Ref(digest.String()), "@"+digest.String())
}
