package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// NARs opens the NAR of a store object. The bytes need not be checked: Packer
// holds them against the object's size and hash. A stream that has a method
// From() string is named by it in errors; one that has a method Doubt() is told by
// that if it is not what it should be.
type NARs interface {
	NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error)
}

// Packer writes layers into a folder.
type Packer struct {
	Dir      string // holds the blobs, named by digest, and the unfinished ones
	Encoding Encoding
}

// CorruptError says that a NAR is not what its path info promises.
type CorruptError struct {
	Path nix.StorePath
	From string // where the NAR came from, if the stream says it
	Err  error
}

func (e *CorruptError) Error() string {
	if e.From == "" || strings.Contains(e.Err.Error(), e.From) {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s from %s: %v", e.Path, e.From, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Objects packs store objects, in order, into a layer. A NAR that does not fit
// its path info is fetched once more before the layer is given up with a
// *CorruptError. For the objects in list the result holds a listing: the paths
// of all files and links in it, slash-separated, relative to the store path.
func (p Packer) Objects(ctx context.Context, nars NARs, objects []nix.PathInfo, list map[nix.StorePath]bool) (*Layer, error) {
	layer, err := p.objects(ctx, nars, objects, list)
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) && ctx.Err() == nil {
		layer, err = p.objects(ctx, nars, objects, list)
	}
	return layer, err
}

func (p Packer) objects(ctx context.Context, nars NARs, objects []nix.PathInfo, list map[nix.StorePath]bool) (*Layer, error) {
	listings := make(map[nix.StorePath][]string)
	layer, err := p.write(gzipTools, func(a *archive) error {
		if err := a.storeFolders(); err != nil {
			return err
		}
		for _, object := range objects {
			var listing *[]string
			if list[object.Path] {
				listing = new([]string)
			}
			if err := unpackNAR(ctx, nars, object, a, listing); err != nil {
				return err
			}
			if listing != nil {
				listings[object.Path] = *listing
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	layer.Key = KeyOf(p.Encoding, objects)
	layer.Paths = baseNames(objects)
	layer.CreatedBy = createdBy(layer.Paths)
	layer.Listings = listings
	return layer, nil
}

// unpackNAR streams one NAR into the archive and checks it on the way.
func unpackNAR(ctx context.Context, nars NARs, object nix.PathInfo, a *archive, listing *[]string) error {
	stream, err := nars.NAR(ctx, object)
	if err != nil {
		return err
	}
	defer stream.Close()
	corrupt := func(err error) error {
		if s, ok := stream.(interface{ Doubt() }); ok && ctx.Err() == nil {
			s.Doubt()
		}
		return &CorruptError{Path: object.Path, From: origin(stream), Err: err}
	}
	sum := sha256.New()
	r := nar.NewReader(io.TeeReader(stream, sum), object.NarSize)
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return ctxOr(ctx, corrupt(err))
		}
		if err := a.object(object.Path, e, r); err != nil {
			return ctxOr(ctx, corrupt(err))
		}
		if listing != nil && e.Kind != nar.Directory {
			*listing = append(*listing, e.Path)
		}
	}
	if got := nix.Hash(sum.Sum(nil)); got != object.NarHash {
		return corrupt(fmt.Errorf("NAR hash is %s, its path info says %s", got, object.NarHash))
	}
	return nil
}

// origin returns where a stream comes from, if it says it.
func origin(stream io.Reader) string {
	if s, ok := stream.(interface{ From() string }); ok {
		return s.From()
	}
	return ""
}

// ctxOr keeps a cancelled download from looking like a corrupt one.
func ctxOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Tree is a file tree that several store objects consist of.
type Tree interface {
	Walk(func(e nar.Entry, content io.Reader) error) error
}

// Linked packs store objects that all have the tree as their content: the
// first as files, the others as hard links to these.
func (p Packer) Linked(ctx context.Context, tree Tree, objects []nix.PathInfo) (*Layer, error) {
	layer, err := p.write(gzipOther, func(a *archive) error {
		if err := a.storeFolders(); err != nil {
			return err
		}
		first := objects[0].Path
		err := tree.Walk(func(e nar.Entry, content io.Reader) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return a.object(first, e, content)
		})
		for _, object := range objects[1:] {
			if err != nil {
				return err
			}
			err = tree.Walk(func(e nar.Entry, _ io.Reader) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return a.linked(object.Path, first, e)
			})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	layer.Key = LinkedKeyOf(p.Encoding, objects)
	layer.Paths = baseNames(objects)
	layer.CreatedBy = createdBy(layer.Paths)
	return layer, nil
}

// write makes a layer out of the archive that fill writes.
func (p Packer) write(level effort, fill func(*archive) error) (*Layer, error) {
	return p.compress(level, func(w io.Writer) error {
		a := newArchive(w)
		if err := fill(a); err != nil {
			return err
		}
		return a.Close()
	})
}

// compress makes a blob out of what fill writes.
func (p Packer) compress(level effort, fill func(io.Writer) error) (*Layer, error) {
	diffID := sha256.New()
	return p.spool(func(w io.Writer) (*Layer, error) {
		z, err := p.Encoding.compress(w, level)
		if err != nil {
			return nil, err
		}
		if err := fill(io.MultiWriter(z, diffID)); err != nil {
			z.Close() // ends the compressor's goroutines
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		return &Layer{diffID: toV1(diffID), media: p.Encoding.MediaType()}, nil
	})
}

// spool makes a file of what fill writes, under a temporary name until its digest
// is known, and completes the layer that fill returns.
func (p Packer) spool(fill func(io.Writer) (*Layer, error)) (_ *Layer, err error) {
	f, err := os.CreateTemp(p.Dir, "unfinished-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	digest, blob := sha256.New(), &sink{w: f}
	layer, err := fill(io.MultiWriter(blob, digest))
	if blob.err != nil {
		return nil, blob.err // a full disk is no fault of what was to be written
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	layer.digest, layer.size = toV1(digest), blob.n
	name := strings.TrimSuffix(p.Dir, "/") + "/" + layer.digest.Hex
	if err := os.Rename(f.Name(), name); err != nil {
		return nil, err
	}
	layer.open, layer.file = openFile(name), name
	layer.inflate = func(r io.Reader) (io.ReadCloser, error) { return Decompress(layer.media, r) }
	return layer, nil
}

// sink counts what was written and remembers why no more could be.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

func toV1(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// createdBy names a few of the paths, for the image's history.
func createdBy(paths []string) string {
	const most = 8
	names := make([]string, 0, most)
	for _, p := range paths[:min(len(paths), most)] {
		names = append(names, p[33:])
	}
	s := "store paths: " + strings.Join(names, " ")
	if more := len(paths) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
