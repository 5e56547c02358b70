package verify

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// scan is what was found in a layer.
type scan struct {
	layer   image.Layer
	got     layers.Identity // zero if the layer was not read to its end
	err     error           // why it was not, or why its archive was not
	objects []object
	files   Check // problems of entries
	entries int
	found   map[string]bool // what links lead to, as "base/below"
}

// read reads a layer to its end.
func (s *scan) read(ctx context.Context, v *verification, visit func(*tar.Header, io.Reader) error) {
	blob, err := s.layer.Blob.Compressed()
	if err != nil {
		s.err = err
		return
	}
	defer blob.Close()
	counted := &counter{ctx: ctx, r: blob, left: s.layer.Size, told: func(n int) {
		v.bytes.Add(int64(n))
		if v.Progress != nil {
			v.Progress(n)
		}
	}}
	s.got, s.err = layers.Scan(counted, s.layer.MediaType, v.Most, func(h *tar.Header, content io.Reader) error {
		s.entries++
		if err := s.canonical(h); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
		return visit(h, content)
	})
}

// counter reads no more than left bytes, and nothing once ctx has ended.
type counter struct {
	ctx  context.Context
	r    io.Reader
	left int64
	told func(int)
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errors.New("more bytes than the manifest says")
	}
	c.told(n)
	return n, err
}

// identity holds the bytes of a layer against what the manifest and the configuration
// say of them.
func (s *scan) identity(c *Check, place int) {
	if s.err != nil {
		c.add("layer %d, %s: %v", place, s.layer.Digest, s.err)
	}
	switch {
	case s.got == layers.Identity{}:
		if s.err == nil {
			c.add("layer %d, %s: cannot be read to its end", place, s.layer.Digest)
		}
		return
	case s.got.Size != s.layer.Size:
		c.add("layer %d, %s: has %d bytes, the manifest says %d", place, s.layer.Digest, s.got.Size, s.layer.Size)
	case s.got.Digest != s.layer.Digest:
		c.add("layer %d: its bytes have the digest %s, the manifest says %s", place, s.got.Digest, s.layer.Digest)
	}
	if s.got.Behind {
		c.add("layer %d, %s: goes on behind the end of its archive, which some readers take for more files", place, s.layer.Digest)
	}
	if s.got.DiffID != s.layer.DiffID {
		c.add("layer %d, %s: its archive has the diffID %s, the configuration says %s", place, s.layer.Digest, s.got.DiffID, s.layer.DiffID)
	}
}

// canonical holds an entry against how the factory writes them: what it refuses ends
// the reading of the archive, for readers differ in what they make of the rest.
func (s *scan) canonical(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return fmt.Errorf("neither a file nor a folder nor a link (type %q)", h.Typeflag)
	}
	if err := checkName(h); err != nil {
		return err
	}
	for key := range h.PAXRecords {
		if key != "path" && key != "linkpath" && key != "size" {
			return fmt.Errorf("has the attribute %.60q, which the factory does not write", key)
		}
	}
	if h.Typeflag != tar.TypeReg && h.Size != 0 {
		return fmt.Errorf("%d bytes of something that is no file", h.Size)
	}
	if h.ModTime.Unix() != 1 || h.Uname != "" || h.Gname != "" {
		s.files.add("%q: its time or owner is not what the factory writes", h.Name)
	}
	return nil
}

func checkName(h *tar.Header) error {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	switch {
	case name == "" || name == "." || name != path.Clean(name) || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../"):
		return errors.New("not a plain name below /")
	case strings.HasPrefix(path.Base(name), ".wh."), strings.Contains(name, "/.wh."):
		return errors.New("deletes files of the layers below")
	case strings.Contains(name, "\x00") || strings.Contains(h.Linkname, "\x00"):
		return errors.New("NUL in a name")
	}
	return nil
}

// intoStore takes apart what leads into a store object.
func intoStore(target string) (base, below string, ok bool) {
	rest, ok := strings.CutPrefix(path.Clean(target), nix.StoreDir+"/")
	base, below, _ = strings.Cut(rest, "/")
	return base, below, ok
}
