package verify

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// blob is a layer of an archive that is not compressed.
type blob struct{ io.Reader }

func (b blob) Digest() (v1.Hash, error)             { return v1.Hash{}, nil }
func (b blob) DiffID() (v1.Hash, error)             { return v1.Hash{}, nil }
func (b blob) Size() (int64, error)                 { return 0, nil }
func (b blob) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (b blob) Compressed() (io.ReadCloser, error)   { return io.NopCloser(b), nil }
func (b blob) Uncompressed() (io.ReadCloser, error) { return io.NopCloser(b), nil }

// scanOf is the scan of an archive, before it is read.
func scanOf(archive io.Reader, size int64) *scan {
	return &scan{layer: image.Layer{Descriptor: v1.Descriptor{Size: size, MediaType: types.OCIUncompressedLayer}, Blob: blob{archive}}}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What has no end is not read to it.
func TestBombs(t *testing.T) {
	v := &verification{Options: Options{Most: 1 << 20}}
	none := func(*tar.Header, io.Reader) error { return nil }

	s := scanOf(zeros{}, 1<<40)
	if s.read(t.Context(), v, none); s.err == nil || !strings.Contains(s.err.Error(), "unpacks to more than") || s.got != (layers.Identity{}) {
		t.Errorf("zeros behind the archive: %v", s.err)
	}
	s = scanOf(zeros{}, 1000)
	if s.read(t.Context(), v, none); s.err == nil || !strings.Contains(s.err.Error(), "more bytes than the manifest says") {
		t.Errorf("a blob that does not end: %v", s.err)
	}
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	if err := w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	s = scanOf(io.MultiReader(&head, zeros{}), 1<<50)
	if s.read(t.Context(), v, none); s.err == nil || !strings.Contains(s.err.Error(), "unpacks to more than") {
		t.Errorf("a file of a terabyte: %v", s.err)
	}
}

// archived is a layer's archive.
func archived(f *testing.F, l *layers.Layer) []byte {
	f.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// Two store objects that have their hashes have their files, whatever was done to the
// archive.
func FuzzLayer(f *testing.F) {
	s := good(f)
	p := layers.Packer{Dir: f.TempDir()}
	known := make(map[string]*expected)
	for _, info := range s.database {
		known[info.Path.Base()] = &expected{path: info.Path, most: info.NarSize, source: info.CA != "", wanted: []string{"bin/nix", "lib64/libc.so.6"}}
	}
	objects, err := p.Objects(f.Context(), s.nars, s.closure, nil)
	if err != nil {
		f.Fatal(err)
	}
	linked, err := p.Linked(f.Context(), s.tree, s.sources)
	if err != nil {
		f.Fatal(err)
	}
	want := make(map[nix.StorePath]nix.Hash)
	for _, info := range s.database {
		want[info.Path] = info.NarHash
	}
	whole := [][]byte{archived(f, objects), archived(f, linked)}
	for i, data := range whole {
		f.Add(i, 0, []byte{})
		for at := 0; at < len(data); at += 257 {
			f.Add(i, at, []byte("x"))
		}
	}
	f.Fuzz(func(t *testing.T, which, at int, by []byte) {
		if which < 0 || which > 1 || at < 0 || at > len(whole[which]) {
			return
		}
		data := append([]byte{}, whole[which]...)
		copy(data[at:], by)
		s := scanOf(bytes.NewReader(data), int64(len(data)))
		w := &walker{known: known, scan: s}
		s.read(t.Context(), &verification{Options: Options{Most: 1 << 20}}, w.visit)
		w.end()
		right := s.err == nil && len(s.files.Problems) == 0 && len(s.objects) == 2
		for _, o := range s.objects {
			right = right && o.err == nil && o.narHash == want[o.path]
		}
		if right && listing(data) != listing(whole[which]) {
			t.Errorf("all objects have their hashes, and there are other files:\n%s", listing(data))
		}
	})
}

// listing is all that an archive has but what no hash is of.
func listing(data []byte) string {
	var b strings.Builder
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			return b.String()
		}
		text, _ := io.ReadAll(r)
		fmt.Fprintf(&b, "%q %c %o %q %q\n", h.Name, h.Typeflag, h.Mode, h.Linkname, text)
	}
}

// No topmost layer does more than say something wrong.
func FuzzRoot(f *testing.F) {
	s := good(f)
	files, err := s.rootfs(f).Files()
	if err != nil {
		f.Fatal(err)
	}
	root, err := layers.Packer{Dir: f.TempDir()}.Files(files, "")
	if err != nil {
		f.Fatal(err)
	}
	whole := archived(f, root)
	f.Add(0, []byte{})
	for at := 0; at < len(whole); at += 999 {
		f.Add(at, []byte("\xff\x00x"))
	}
	scratch := f.TempDir()
	f.Fuzz(func(t *testing.T, at int, by []byte) {
		if at < 0 || at > len(whole) {
			return
		}
		data := append([]byte{}, whole...)
		copy(data[at:], by)
		s := scanOf(bytes.NewReader(data), int64(len(data)))
		w := &rootWalker{scan: s, root: check.NewRoot(scratch), kinds: make(map[string]byte)}
		s.read(t.Context(), &verification{Options: Options{Most: 1 << 22}}, w.visit)
		if s.err == nil && w.err == nil && w.root.Listed() == nil {
			for _, info := range w.root.Objects {
				info.Trusted([]nix.PublicKey{key.Public()})
			}
		}
	})
}
