package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refName is the annotation that names an entry of a layout's index
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
const refName = "org.opencontainers.image.ref.name"

// Layout returns a repository in an OCI layout folder, which is made when
// something is pushed. All repositories of a layout share its blobs; an entry
// of its index is named "repository:tag". Several processes may write at once,
// and readers see the index before or after a change, never within one.
func Layout(dir, repository string) Repository {
	return &layoutRepository{dir: dir, name: repository}
}

type layoutRepository struct{ dir, name string }

// Folder is a repository in an OCI layout folder.
type Folder interface {
	Dir() string        // of the layout
	Repository() string // name that the layout's entries begin with
}

func (l *layoutRepository) Dir() string        { return l.dir }
func (l *layoutRepository) Repository() string { return l.name }

func (l *layoutRepository) Ref(tag string) string {
	return fmt.Sprintf("oci:%s:%s:%s", l.dir, l.name, tag)
}

func (l *layoutRepository) Digest(_ context.Context, tag string) (v1.Hash, error) {
	desc, err := l.find(tag)
	return desc.Digest, err
}

func (l *layoutRepository) find(tag string) (v1.Descriptor, error) {
	manifest, err := readIndex(l.dir)
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, desc := range manifest.Manifests {
		ref := desc.Annotations[refName]
		if ref == l.name+":"+tag || strings.HasPrefix(ref, l.name+":") && desc.Digest.String() == tag {
			return desc, nil
		}
	}
	return v1.Descriptor{}, fmt.Errorf("%s: %w", l.Ref(tag), ErrNotFound)
}

func (l *layoutRepository) Describe(_ context.Context, tag string) (v1.Descriptor, error) {
	return l.find(tag)
}

func (l *layoutRepository) Index(_ context.Context, tag string) (v1.ImageIndex, error) {
	desc, err := l.find(tag)
	if err != nil {
		return nil, err
	}
	if !desc.MediaType.IsIndex() {
		return nil, &NoIndexError{l.Ref(tag), desc}
	}
	all, err := layout.ImageIndexFromPath(l.dir)
	if err != nil {
		return nil, err
	}
	return all.ImageIndex(desc.Digest)
}

func (l *layoutRepository) PushImage(ctx context.Context, img v1.Image, pushed ...v1.Hash) error {
	if err := l.begin(); err != nil {
		return err
	}
	return l.pushImage(ctx, img, pushed)
}

func (l *layoutRepository) Push(ctx context.Context, index v1.ImageIndex, pushed ...v1.Hash) error {
	if err := l.begin(); err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return err
		}
		if err := l.pushImage(ctx, img, pushed); err != nil {
			return err
		}
	}
	raw, err := index.RawManifest()
	if err != nil {
		return err
	}
	_, err = l.putBytes(ctx, raw)
	return err
}

func (l *layoutRepository) pushImage(ctx context.Context, img v1.Image, pushed []v1.Hash) error {
	stack, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range stack {
		there, err := l.hasLayer(ctx, layer, pushed)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if _, err := l.putLayer(ctx, layer); err != nil {
			return err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if _, err := l.putBytes(ctx, config); err != nil {
		return err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	_, err = l.putBytes(ctx, raw)
	return err
}

// hasLayer tells whether a layer that was pushed a moment ago is still there, without
// reading it.
func (l *layoutRepository) hasLayer(ctx context.Context, layer v1.Layer, pushed []v1.Hash) (bool, error) {
	digest, err := layer.Digest()
	if err != nil || !slices.Contains(pushed, digest) {
		return false, err
	}
	size, err := layer.Size()
	if err != nil {
		return false, err
	}
	return l.HasBlob(ctx, digest, size)
}

func (l *layoutRepository) PushBlob(ctx context.Context, layer v1.Layer) (Outcome, error) {
	if err := l.begin(); err != nil {
		return "", err
	}
	return l.putLayer(ctx, layer)
}

func (l *layoutRepository) SendBlob(ctx context.Context, layer v1.Layer) (Outcome, error) {
	return l.PushBlob(ctx, layer)
}

func (l *layoutRepository) putLayer(ctx context.Context, layer v1.Layer) (Outcome, error) {
	digest, err := layer.Digest()
	if err != nil {
		return "", err
	}
	size, err := layer.Size()
	if err != nil {
		return "", err
	}
	outcome, err := l.put(ctx, digest, size, layer.Compressed)
	if err != nil {
		return "", fmt.Errorf("layer %s: %w", digest, err)
	}
	return outcome, nil
}

func (l *layoutRepository) PushManifest(ctx context.Context, m Manifest) (Outcome, error) {
	if err := l.begin(); err != nil {
		return "", err
	}
	raw, err := m.RawManifest()
	if err != nil {
		return "", err
	}
	return l.putBytes(ctx, raw)
}

func (l *layoutRepository) Tag(_ context.Context, m Manifest, tag string) error {
	unlock, err := lock(l.lockFile())
	if err != nil {
		return err
	}
	defer unlock()
	return l.tag(m, tag)
}

// tag sets a tag. The caller has locked the layout.
func (l *layoutRepository) tag(m Manifest, tag string) error {
	desc, err := partial.Descriptor(m)
	if err != nil {
		return err
	}
	manifest, err := readIndex(l.dir)
	if errors.Is(err, ErrNotFound) {
		manifest, err = &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}, nil
	}
	if err != nil {
		return err
	}
	ref := l.name + ":" + tag
	manifest.Manifests = slices.DeleteFunc(manifest.Manifests, func(d v1.Descriptor) bool { return d.Annotations[refName] == ref })
	manifest.Manifests = append(manifest.Manifests, v1.Descriptor{
		MediaType:   desc.MediaType,
		Size:        desc.Size,
		Digest:      desc.Digest,
		Annotations: map[string]string{refName: ref},
	})
	data, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	return replace(filepath.Join(l.dir, "index.json"), append(data, '\n'))
}

// Missing looks for files of the right size; only manifests are read.
func (l *layoutRepository) Missing(ctx context.Context, digest v1.Hash) ([]v1.Hash, error) {
	return missing(ctx, l, digest, 1)
}

func (l *layoutRepository) manifest(_ context.Context, digest v1.Hash) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(l.blobs(), digest.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", l.Ref(digest.String()), ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != digest {
		return nil, fmt.Errorf("%s: its bytes have the digest %s: %w", l.Ref(digest.String()), got, ErrNotFound)
	}
	return raw, nil
}

func (l *layoutRepository) HasBlob(_ context.Context, digest v1.Hash, size int64) (bool, error) {
	info, err := os.Stat(filepath.Join(l.blobs(), digest.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == size, err
}

// CanPush writes an empty file where blobs go, or where the first folder that
// is not there yet will be made, and removes it.
func (l *layoutRepository) CanPush(context.Context) error {
	at := l.blobs()
	for {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	f, err := os.CreateTemp(at, ".can-push-*")
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(f.Name()), f.Close())
}

// readIndex reads a layout's index.json; ErrNotFound if there is none.
func readIndex(dir string) (*v1.IndexManifest, error) {
	file := filepath.Join(dir, "index.json")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return manifest, nil
}
