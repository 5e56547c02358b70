package push

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// product is what is to be published.
type product struct {
	images   []archive.Image // one for each platform
	attached []archive.Image
	index    registry.Manifest // as its maker wrote it, else nil
}

// plain tells whether it is an image and not an index.
func (p product) plain() bool {
	return p.index == nil && len(p.images) == 1 && len(p.attached) == 0
}

// gather puts together what the sources have.
func gather(sources []Source, sets []archive.Set, platforms []v1.Platform) (product, error) {
	var p product
	var from []string // the source of each image
	for i, set := range sets {
		from = append(from, slices.Repeat([]string{sources[i].Name}, len(set.Images))...)
		if err := setPlatform(set, platforms, i); err != nil {
			return product{}, fmt.Errorf("%s: %w", sources[i].Name, err)
		}
		p.images = append(p.images, set.Images...)
		p.attached = append(p.attached, set.Attached...)
	}
	if len(sets) == 1 && sets[0].Index != nil {
		p.index = registry.RawManifest(sets[0].Index, sets[0].Media)
	}
	return p, p.unlike(from)
}

// unlike checks that no two images, from sources by name, are for one platform.
func (p product) unlike(from []string) error {
	if p.plain() || p.index != nil {
		return nil
	}
	seen := map[string]string{}
	for i, img := range p.images {
		platform := show(img.Platform)
		switch {
		case img.Platform.OS == "" || img.Platform.Architecture == "":
			return fmt.Errorf("%s: the image does not say what platform it is for: say it with --platform, once for each source", from[i])
		case seen[platform] != "":
			return fmt.Errorf("%s and %s are both for %s: an index has one image for each platform", seen[platform], from[i], platform)
		}
		seen[platform] = from[i]
	}
	return nil
}

// setPlatform has the image of a set be for the platform that was named.
func setPlatform(set archive.Set, platforms []v1.Platform, i int) error {
	if len(platforms) == 0 {
		return nil
	}
	named := platforms[min(i, len(platforms)-1)]
	if len(set.Images) != 1 {
		return fmt.Errorf("there are images for %d platforms: --platform is for sources with one", len(set.Images))
	}
	img := &set.Images[0]
	is := img.Platform
	if is.OS == "" || is.Architecture == "" {
		img.Platform = named
		return fillPlatform(img)
	}
	if is.OS != named.OS || is.Architecture != named.Architecture || is.Variant != "" && named.Variant != "" && is.Variant != named.Variant {
		return fmt.Errorf("it is for %s, --platform says %s", show(is), show(named))
	}
	img.Platform = named
	return nil
}

// fillPlatform writes the platform into a configuration that has none: what
// engines go by. The manifest of a maker stays as it is.
func fillPlatform(img *archive.Image) error {
	if img.Manifest != nil {
		return nil
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(img.Config, &config); err != nil {
		return err
	}
	set := func(field, value string) {
		if value != "" {
			config[field], _ = json.Marshal(value) // of text, which cannot fail
		}
	}
	set("os", img.Platform.OS)
	set("architecture", img.Platform.Architecture)
	set("variant", img.Platform.Variant)
	var err error
	img.Config, err = json.Marshal(config)
	return err
}

// show is a platform as people write it.
func show(p v1.Platform) string {
	if p.Architecture == "arm64" && p.Variant == "v8" {
		p.Variant = "" // there is no other
	}
	return strings.Trim(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")
}

// id names the content: the ID of an image as engines have it, which is the
// digest of its configuration and does not depend on compression; of several, the
// digest of the list of theirs.
func (p product) id() string {
	configs := make([]v1.Hash, len(p.images))
	for i, img := range p.images {
		configs[i] = digestOf(img.Config)
	}
	return contentID(configs)
}

func contentID(configs []v1.Hash) string {
	if len(configs) == 1 {
		return configs[0].Hex
	}
	lines := make([]string, len(configs))
	for i, digest := range configs {
		lines[i] = digest.String() + "\n"
	}
	slices.Sort(lines)
	return digestOf([]byte(strings.Join(lines, ""))).Hex
}

func digestOf(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// manifestOf makes the manifest of an image, unless its maker has.
func manifestOf(img archive.Image, blobs []v1.Descriptor) (registry.Manifest, error) {
	if img.Manifest != nil {
		return registry.RawManifest(img.Manifest, img.Media), nil
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        configOf(img),
		Layers:        blobs,
	})
	return registry.RawManifest(raw, types.OCIManifestSchema1), err
}

func configOf(img archive.Image) v1.Descriptor {
	return v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(img.Config)), Digest: digestOf(img.Config)}
}

// indexOf makes the index of images and what is attached to them.
func (p product) indexOf(manifests []registry.Manifest) (registry.Manifest, error) {
	if p.index != nil {
		return p.index, nil
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for i, img := range slices.Concat(p.images, p.attached) {
		desc, err := entryOf(img, manifests[i])
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, desc)
	}
	raw, err := json.Marshal(index)
	return registry.RawManifest(raw, types.OCIImageIndex), err
}

// names of an image in its layout mean nothing in a registry
var namesInLayouts = []string{"org.opencontainers.image.ref.name", "io.containerd.image.name"}

func entryOf(img archive.Image, m registry.Manifest) (v1.Descriptor, error) {
	digest, err := m.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := m.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	media, err := m.MediaType()
	platform := img.Platform
	if platform.OS == "" {
		platform = v1.Platform{OS: "unknown", Architecture: "unknown"}
	}
	annotations := maps.Clone(img.Annotations)
	for _, name := range namesInLayouts {
		delete(annotations, name)
	}
	return v1.Descriptor{MediaType: media, Size: size, Digest: digest, Platform: &platform, Annotations: annotations}, err
}
