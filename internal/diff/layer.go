package diff

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Limits of what is read of an image.
const (
	mostFiles    = 400_000  // entries of all layers together
	mostUnpacked = 32 << 30 // bytes of a layer
	mostName     = 4096     // bytes; Linux has no longer ones
)

// file is an entry of a layer as far as it counts: two that are equal do not differ.
type file struct {
	kind     byte  // as in archives
	mode     int64 // permissions
	uid, gid int
	size     int64
	sum      [sha256.Size]byte // of a file's content
	target   string            // of a link; of a device its numbers
}

// content is what a layer puts over those below it. Room is how many more entries
// may be remembered, of this layer and others.
type content struct {
	files  map[string]file // by absolute name
	hidden map[string]bool // what goes away, and all below it
	opaque map[string]bool // folders of which everything goes away
	room   *int
}

// readLayer reads a layer from its beginning to its end. Content is hashed and not kept.
func readLayer(ctx context.Context, img v1.Image, l Layer, room *int) (content, error) {
	layer, err := img.LayerByDigest(l.Digest)
	if err != nil {
		return content{}, err
	}
	media, err := layer.MediaType()
	if err != nil {
		return content{}, err
	}
	blob, err := layer.Compressed()
	if err != nil {
		return content{}, err
	}
	defer blob.Close()
	c := newContent(room)
	got, err := layers.Scan(io.LimitReader(blob, l.Size+1), media, mostUnpacked, func(h *tar.Header, r io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.add(h, r)
	})
	if err == nil && got.Digest != l.Digest {
		err = fmt.Errorf("its bytes have the digest %s", got.Digest)
	}
	return c, err
}

func newContent(room *int) content {
	return content{files: map[string]file{}, hidden: map[string]bool{}, opaque: map[string]bool{}, room: room}
}

// Names that hide what is below
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts).
const (
	hide    = ".wh."
	hideAll = ".wh..wh..opq"
)

// add takes an entry in, unless it is of the store.
func (c content) add(h *tar.Header, r io.Reader) error {
	name := path.Join("/", h.Name)
	dir, base := path.Split(name)
	if name == "/" || strings.HasPrefix(name, nix.StoreDir+"/") || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	switch *c.room--; {
	case len(name) > mostName || len(h.Linkname) > mostName:
		return errors.New("a name of more than 4096 bytes")
	case *c.room < 0:
		return errTooMany
	case base == hideAll:
		c.opaque[path.Clean(dir)] = true
		return nil
	case strings.HasPrefix(base, hide):
		c.hidden[dir+strings.TrimPrefix(base, hide)] = true
		return nil
	}
	f, err := c.file(h, r)
	if err == nil {
		c.files[name] = f
	}
	return err
}

func (c content) file(h *tar.Header, r io.Reader) (file, error) {
	f := file{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		f.kind, f.size = tar.TypeReg, h.Size
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return f, err
		}
		sum.Sum(f.sum[:0])
	case tar.TypeLink:
		f.target = path.Join("/", h.Linkname)
		if first, ok := c.files[f.target]; ok {
			return first, nil
		}
	case tar.TypeSymlink:
		f.target = h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		f.target = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case tar.TypeDir, tar.TypeFifo:
	default:
		return f, fmt.Errorf("%.200q: an entry of the type %q", h.Name, h.Typeflag)
	}
	return f, nil
}

// cover puts a layer over the files of those below it.
func (c content) cover(files map[string]file) {
	for name := range files {
		if c.covers(name) {
			delete(files, name)
		}
	}
	for name, f := range c.files {
		files[name] = f
	}
}

// covers tells whether a file below is gone: it was hidden, or a folder that it is
// in was, or what is no folder took the place of one.
func (c content) covers(name string) bool {
	if c.hidden[name] {
		return true
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		over, there := c.files[dir]
		if c.hidden[dir] || c.opaque[dir] || there && over.kind != tar.TypeDir {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}
