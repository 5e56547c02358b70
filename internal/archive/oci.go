package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// ociIndex lists what an OCI layout has.
const ociIndex = "index.json"

// Annotations of the entries of an index.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
	attachedType   = "vnd.docker.reference.type"
	attachedTo     = "vnd.docker.reference.digest"
)

// readOCI reads an OCI layout.
func readOCI(m members, selected string) (Set, error) {
	data, err := m.document(ociIndex)
	if err != nil {
		return Set{}, err
	}
	top, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return Set{}, memberError(ociIndex, said.Error(err))
	}
	entries, err := chooseOCI(top.Manifests, selected)
	if err != nil {
		return Set{}, memberError(ociIndex, err)
	}
	if len(entries) == 1 && entries[0].MediaType.IsIndex() {
		return nested(m, entries[0])
	}
	set, _, err := readEntries(m, entries)
	if err == nil {
		err = memberErrorIf(ociIndex, unlike(set.Images))
	}
	return set, err
}

// nested reads an index below index.json. It is kept as it is where it can be.
func nested(m members, desc v1.Descriptor) (Set, error) {
	raw, err := blobDocument(m, desc)
	if err != nil {
		return Set{}, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return Set{}, memberError(blobName(desc.Digest), said.Error(err))
	}
	set, whole, err := readEntries(m, index.Manifests)
	if whole {
		set.Index, set.Media = raw, desc.MediaType
	}
	for i := range set.Images {
		set.Images[i].Names = append(set.Images[i].Names, namesOf(desc)...)
	}
	return set, err
}

// readEntries reads the images that an index names. Whole tells whether they are
// all there, and as they are in the index.
func readEntries(m members, entries []v1.Descriptor) (set Set, whole bool, err error) {
	whole = true
	gone := map[string]bool{} // images that are not there, or not as they were
	for _, desc := range entries {
		img, err := ociImage(m, desc)
		switch {
		case errors.Is(err, errNoManifest) && len(entries) > 1:
			gone[desc.Digest.String()], whole = true, false // an engine that saves one platform leaves the others in the index
		case err != nil:
			return Set{}, false, err
		case attached(desc):
			set.Attached = append(set.Attached, img)
		default:
			if img.Manifest == nil {
				gone[desc.Digest.String()], whole = true, false
			}
			set.Images = append(set.Images, img)
		}
	}
	if len(set.Images) == 0 {
		return Set{}, false, fmt.Errorf("there is no image")
	}
	set.Attached = slices.DeleteFunc(set.Attached, func(img Image) bool { return gone[img.Annotations[attachedTo]] })
	return set, whole, nil
}

var errNoManifest = errors.New("its manifest is not there")

// ociImage reads an image of an OCI layout.
func ociImage(m members, desc v1.Descriptor) (Image, error) {
	at := blobName(desc.Digest)
	raw, err := blobDocument(m, desc)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("%w (%w)", err, errNoManifest)
	}
	if err != nil {
		return Image{}, err
	}
	if !desc.MediaType.IsImage() {
		return Image{}, memberError(at, fmt.Errorf("its type is %q: want the manifest of an image", said.Line(string(desc.MediaType))))
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return Image{}, memberError(at, said.Error(err))
	}
	config, err := blobDocument(m, manifest.Config)
	if err != nil {
		return Image{}, err
	}
	img := Image{Config: config, Names: namesOf(desc), Manifest: raw, Media: desc.MediaType, Annotations: desc.Annotations}
	diffIDs := make([]v1.Hash, len(manifest.Layers))
	if !attached(desc) {
		if img.Platform, diffIDs, err = parseConfig(config, len(manifest.Layers)); err != nil {
			return Image{}, memberError(blobName(manifest.Config.Digest), said.Error(err))
		}
	}
	for i, blob := range manifest.Layers {
		layer, err := ociLayer(m, blob, diffIDs[i])
		if err != nil {
			return Image{}, err
		}
		img.Layers = append(img.Layers, layer)
	}
	if slices.ContainsFunc(manifest.Layers, uncompressed) {
		img.remake()
	}
	return img, nil
}

// remake has the manifest made anew: layers that are not compressed are not what
// registries are to be filled with.
func (i *Image) remake() {
	i.Manifest, i.Media = nil, ""
	for n := range i.Layers {
		i.Layers[n].Blob = nil
	}
}

func uncompressed(desc v1.Descriptor) bool {
	return desc.MediaType == types.OCIUncompressedLayer || desc.MediaType == types.DockerUncompressedLayer
}

func ociLayer(m members, blob v1.Descriptor, diffID v1.Hash) (Layer, error) {
	layer := Layer{DiffID: diffID, From: member(blobName(blob.Digest)), Blob: &blob}
	if !blob.MediaType.IsDistributable() {
		return layer, memberError(blobName(blob.Digest), fmt.Errorf("a layer that may not be distributed (its type is %q)", said.Line(string(blob.MediaType))))
	}
	open, taken, err := m.layer(blobName(blob.Digest))
	layer.Open = open
	switch {
	case err != nil || taken == nil:
	case diffID == v1.Hash{}:
		err = memberError(blobName(blob.Digest), errors.New("what is attached to an image has to be JSON of at most 16 MiB in a stream: push it from a file that is not compressed"))
	case taken.Digest != blob.Digest:
		err = memberError(blobName(blob.Digest), &DigestError{What: "digest", Got: taken.Digest, Want: blob.Digest})
	case taken.DiffID != diffID:
		err = memberError(blobName(blob.Digest), &DigestError{What: "diffID", Got: taken.DiffID, Want: diffID})
	}
	return layer, err
}

// blobDocument returns a document that a descriptor names, held against it.
func blobDocument(m members, desc v1.Descriptor) ([]byte, error) {
	at := blobName(desc.Digest)
	data, err := m.document(at)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if got := (v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}); got != desc.Digest {
		return nil, memberError(at, &DigestError{What: "digest", Got: got, Want: desc.Digest})
	}
	return data, nil
}

func blobName(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// attached tells whether a manifest says something of another one. What is for a
// platform is an image, whatever else is said of it, and has its layers checked.
func attached(desc v1.Descriptor) bool {
	if desc.Platform == nil || desc.Platform.OS == "" {
		return desc.Annotations[attachedType] != ""
	}
	return desc.Platform.OS == "unknown"
}

func namesOf(desc v1.Descriptor) []string {
	var names []string
	for _, key := range []string{refName, containerdName} {
		if name := desc.Annotations[key]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// chooseOCI chooses what is meant of the entries of index.json: all of them,
// unless one is named by its name or digest.
func chooseOCI(entries []v1.Descriptor, selected string) ([]v1.Descriptor, error) {
	var names []string
	for _, desc := range entries {
		named := namesOf(desc)
		if selected != "" && (desc.Digest.String() == selected || slices.ContainsFunc(named, func(n string) bool { return n == selected || sameName(n, selected) })) {
			return []v1.Descriptor{desc}, nil
		}
		names = append(names, append(named, desc.Digest.String())...)
	}
	switch {
	case selected != "":
		return nil, notSelected(selected, names)
	case len(entries) == 0:
		return nil, fmt.Errorf("there is no image")
	case len(entries) > 1 && slices.ContainsFunc(entries, func(d v1.Descriptor) bool { return d.MediaType.IsIndex() }):
		return nil, several(len(entries), names)
	}
	return entries, nil
}

// unlike finds images of one platform: they are several images then, not one.
func unlike(images []Image) error {
	seen := map[string]bool{}
	var names []string
	for _, img := range images {
		names = append(names, img.Names...)
	}
	for _, img := range images {
		if platform := img.Platform.String(); seen[platform] {
			return several(len(images), names)
		} else {
			seen[platform] = true
		}
	}
	return nil
}

func memberErrorIf(name string, err error) error {
	if err == nil {
		return nil
	}
	return memberError(name, err)
}
