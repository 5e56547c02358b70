package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// made is what was published, or was there.
type made struct {
	root   registry.Manifest
	images []Image
}

// publish sends everything but what is there, and asks for all of it afterwards.
func (s *stock) publish(ctx context.Context, what product) (*made, error) {
	all := slices.Concat(what.images, what.attached)
	if err := s.fill(ctx, all); err != nil {
		return nil, err
	}
	m := &made{}
	manifests := make([]registry.Manifest, len(all))
	for i, img := range all {
		var result Image
		var err error
		if manifests[i], result, err = s.publishImage(ctx, img); err != nil {
			return nil, err
		}
		if i < len(what.images) {
			m.images = append(m.images, result)
		}
	}
	m.root = manifests[0]
	if !what.plain() {
		var err error
		if m.root, err = what.indexOf(manifests); err != nil {
			return nil, err
		}
		if _, err := s.repo.PushManifest(ctx, m.root); err != nil {
			return nil, err
		}
	}
	return m, s.check(ctx, m.root)
}

// layersOf returns the blobs of an image, and what became of them.
func (s *stock) layersOf(img archive.Image) ([]v1.Descriptor, Image) {
	result := Image{Platform: show(img.Platform), Layers: []Layer{}}
	blobs := make([]v1.Descriptor, len(img.Layers))
	for i, layer := range img.Layers {
		blobs[i] = s.blobs[layer.DiffID]
		if layer.Blob != nil {
			blobs[i] = *layer.Blob
		}
		result.add(layer.DiffID, blobs[i], s.states[blobs[i].Digest])
		if s.states[blobs[i].Digest] == registry.Sent {
			s.states[blobs[i].Digest] = registry.Present // for whoever has it, too
		}
	}
	return blobs, result
}

// publishImage sends configuration and manifest of an image whose layers are there.
func (s *stock) publishImage(ctx context.Context, img archive.Image) (registry.Manifest, Image, error) {
	blobs, result := s.layersOf(img)
	state, err := s.document(ctx, configOf(img), img.Config)
	if err != nil {
		return nil, result, err
	}
	result.count(state, int64(len(img.Config)))
	manifest, err := manifestOf(img, blobs)
	if err != nil {
		return nil, result, err
	}
	digest, err := manifest.Digest()
	if err != nil {
		return nil, result, err
	}
	if state, err = s.repo.PushManifest(ctx, manifest); err != nil {
		return nil, result, err
	}
	size, err := manifest.Size()
	result.Digest = digest.String()
	result.count(state, size)
	return manifest, result, err
}

// check asks for everything below a manifest.
func (s *stock) check(ctx context.Context, root registry.Manifest) error {
	digest, err := root.Digest()
	if err != nil {
		return err
	}
	missing, err := s.repo.Missing(ctx, digest)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%s: pushed, but the registry does not have %s", s.To.Ref(digest.String()), missing[0])
	}
	return err
}

// mayReplace refuses to put an image for one platform where an index has others,
// which nobody could pull any more.
func (p Pusher) mayReplace(ctx context.Context, tags []Tag, what product) error {
	if p.Single || len(what.images) > 1 {
		return nil
	}
	for _, tag := range tags {
		if tag.Content {
			continue
		}
		others, err := p.others(ctx, tag.Name, show(what.images[0].Platform))
		if errors.Is(err, registry.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.To.Ref(tag.Name), err)
		}
		if len(others) > 0 {
			return &IndexError{Ref: p.To.Ref(tag.Name), Platform: show(what.images[0].Platform), Others: others}
		}
	}
	return nil
}

// IndexError says that a push would take platforms from a tag.
type IndexError struct {
	Ref, Platform string
	Others        []string
}

func (e *IndexError) Error() string {
	return fmt.Sprintf("%s is an index that has %s, too, and this would leave %s only: push all platforms at once, or say --single if that is meant",
		e.Ref, strings.Join(e.Others, ", "), e.Platform)
}

// others are the platforms of the index under a tag beside one.
func (p Pusher) others(ctx context.Context, tag, platform string) ([]string, error) {
	desc, err := p.To.Describe(ctx, tag)
	if err != nil || !desc.MediaType.IsIndex() {
		return nil, err
	}
	index, err := p.To.Index(ctx, tag)
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var others []string
	for _, entry := range list.Manifests {
		if registry.ForNoPlatform(entry) || !entry.MediaType.IsImage() {
			continue
		}
		is, err := platformOf(index, entry)
		if err != nil {
			return nil, err
		}
		if has := show(is); has != "" && has != platform {
			others = append(others, said.Line(has))
		}
	}
	return others, nil
}

// platformOf is what an image of an index is for. The index need not say it.
func platformOf(index v1.ImageIndex, entry v1.Descriptor) (v1.Platform, error) {
	if entry.Platform != nil {
		return *entry.Platform, nil
	}
	img, err := index.Image(entry.Digest)
	if err != nil {
		return v1.Platform{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return v1.Platform{}, err
	}
	return builtFor(config), nil
}

// builtFor is the platform in a configuration, as far as it has one.
func builtFor(c *v1.ConfigFile) v1.Platform {
	return v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
}

// published finds what is to be published under a tag that says so, whole.
func (p Pusher) published(ctx context.Context, tags []Tag, what product) (*made, error) {
	for _, tag := range tags {
		if !tag.Content {
			continue
		}
		images, root, err := registry.Images(ctx, p.To, tag.Name)
		if errors.Is(err, registry.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.To.Ref(tag.Name), err)
		}
		m, err := there(images, root, what)
		if err != nil || m == nil {
			return nil, nil // whatever it is, it is written over
		}
		digest, err := root.Digest()
		if err != nil {
			return nil, err
		}
		missing, err := p.To.Missing(ctx, digest)
		if err != nil || len(missing) > 0 {
			return nil, err
		}
		p.Log.Info("it is there already", "image", p.To.Ref(tag.Name), "digest", digest)
		return m, nil
	}
	return nil, nil
}

// there returns images in a registry if they are those that are to be published.
func there(images []v1.Image, root registry.Manifest, what product) (*made, error) {
	m := &made{root: root}
	var configs []v1.Hash
	for _, img := range images {
		config, err := img.ConfigName()
		if err != nil {
			return nil, err
		}
		configs = append(configs, config)
		result, err := readImage(img)
		if err != nil {
			return nil, err
		}
		m.images = append(m.images, result)
	}
	if contentID(configs) != what.id() {
		return nil, nil
	}
	return m, nil
}

// readImage is an image in the registry as the result of a push has it.
func readImage(img v1.Image) (Image, error) {
	digest, err := img.Digest()
	if err != nil {
		return Image{}, err
	}
	opened, err := image.Open(img)
	if err != nil {
		return Image{}, err
	}
	stack, err := opened.Stack()
	if err != nil {
		return Image{}, err
	}
	result := Image{Digest: digest.String(), Platform: show(builtFor(opened.Config)), Layers: []Layer{}}
	for _, layer := range stack {
		result.add(layer.DiffID, layer.Descriptor, registry.Present)
	}
	return result, nil
}
