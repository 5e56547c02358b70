package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
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

func (l *layoutRepository) Index(_ context.Context, tag string) (v1.ImageIndex, error) {
	desc, err := l.find(tag)
	if err != nil {
		return nil, err
	}
	if !desc.MediaType.IsIndex() {
		return nil, fmt.Errorf("%s: want an image index, it is %q", l.Ref(tag), desc.MediaType)
	}
	all, err := layout.ImageIndexFromPath(l.dir)
	if err != nil {
		return nil, err
	}
	return all.ImageIndex(desc.Digest)
}

func (l *layoutRepository) PushImage(ctx context.Context, img v1.Image) error {
	if err := l.begin(); err != nil {
		return err
	}
	return l.pushImage(ctx, img)
}

// begin makes the layout's folder, and removes what killed processes left in it.
func (l *layoutRepository) begin() error {
	if err := os.MkdirAll(l.blobs(), 0o777); err != nil {
		return err
	}
	unlock, err := lock(l.lockFile())
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range []string{l.dir, l.blobs()} {
		if err := removeAbandoned(dir); err != nil {
			return err
		}
	}
	mark := filepath.Join(l.dir, "oci-layout")
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace(mark, []byte(`{"imageLayoutVersion":"1.0.0"}`+"\n"))
}

func (l *layoutRepository) lockFile() string { return filepath.Join(l.dir, ".lock") }

// Unfinished files of a layout. Those of blobs are locked while they are
// written; others are written while the layout is.
const unfinished = ".unfinished-*"

// removeAbandoned removes the unfinished files that nobody writes to. The
// caller has locked the layout.
func removeAbandoned(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinished))
	if err != nil {
		return err
	}
	for _, name := range left {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // finished meanwhile
		}
		if err != nil {
			return err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.Remove(name)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// create makes an unfinished file that removeAbandoned lets be.
func (l *layoutRepository) create() (*os.File, error) {
	unlock, err := lock(l.lockFile())
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.CreateTemp(l.blobs(), unfinished)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func (l *layoutRepository) Push(ctx context.Context, index v1.ImageIndex) error {
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
		if err := l.pushImage(ctx, img); err != nil {
			return err
		}
	}
	raw, err := index.RawManifest()
	if err != nil {
		return err
	}
	return l.putBytes(ctx, raw)
}

func (l *layoutRepository) pushImage(ctx context.Context, img v1.Image) error {
	stack, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range stack {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		size, err := layer.Size()
		if err != nil {
			return err
		}
		if err := l.put(ctx, digest, size, layer.Compressed); err != nil {
			return fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if err := l.putBytes(ctx, config); err != nil {
		return err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	return l.putBytes(ctx, raw)
}

func (l *layoutRepository) blobs() string { return filepath.Join(l.dir, "blobs", "sha256") }

func (l *layoutRepository) putBytes(ctx context.Context, data []byte) error {
	sum := sha256.Sum256(data)
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	return l.put(ctx, digest, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// sound tells whether a file has the bytes of a blob.
func sound(file string, digest v1.Hash, size int64) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	got, n, err := v1.SHA256(f)
	return err == nil && n == size && got == digest
}

// put writes a blob under its digest, unless it is there.
func (l *layoutRepository) put(ctx context.Context, digest v1.Hash, size int64, open func() (io.ReadCloser, error)) (err error) {
	at := filepath.Join(l.blobs(), digest.Hex)
	if err := ctx.Err(); err != nil {
		return err
	}
	if sound(at, digest, size) {
		return nil
	}
	from, err := open()
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := l.create()
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), from); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest.Hex {
		return fmt.Errorf("blob %s has the digest sha256:%s", digest, got)
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	return os.Rename(f.Name(), at) // before the file is closed, and with it unlocked
}

func (l *layoutRepository) Tag(_ context.Context, index v1.ImageIndex, tag string) error {
	unlock, err := lock(l.lockFile())
	if err != nil {
		return err
	}
	defer unlock()
	raw, err := index.RawManifest()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
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
		MediaType:   types.OCIImageIndex,
		Size:        int64(len(raw)),
		Digest:      digest,
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

func (l *layoutRepository) hasBlob(_ context.Context, digest v1.Hash, size int64) (bool, error) {
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

// replace writes a file such that it has the old content or the new one. The
// caller has locked the layout.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), unfinished)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), file)
}

// lock waits for the lock that a file stands for. It is released when the
// process ends, however it ends.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
