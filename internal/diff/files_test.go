package diff

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/layers"
)

// entry is one of an archive: a file, unless it has another kind.
type entry struct {
	name, text string // of links, text is the target
	kind       byte
	mode       int64
	uid        int
}

func archiveOf(t testing.TB, list ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid}
		switch {
		case e.kind == 0:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.text))
		case e.kind == tar.TypeXGlobalHeader:
			h.PAXRecords = map[string]string{"comment": e.text}
			h.Name = ""
		case e.text != "":
			h.Linkname = e.text
		}
		if h.Mode == 0 && e.kind != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == 0 {
			if _, err := io.WriteString(w, e.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func plainLayer(t testing.TB, list ...entry) v1.Layer {
	return static.NewLayer(archiveOf(t, list...), types.OCIUncompressedLayer)
}

// partOf reads an image of layers, as Read does.
func partOf(t testing.TB, list ...v1.Layer) Part {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, list...)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, img)
}

func read(t testing.TB, img v1.Image) Part {
	t.Helper()
	img, err := mutate.ConfigFile(img, configOf(t, img, "amd64"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(img)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func configOf(t testing.TB, img v1.Image, arch string) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", arch
	return c
}

// compareFiles compares what two images have.
func compareFiles(t testing.TB, a, b Part, most int64) System {
	t.Helper()
	x, y := Image{Parts: []Part{a}}, Image{Parts: []Part{b}}
	if err := ReadFiles(t.Context(), x, y, most); err != nil {
		t.Fatal(err)
	}
	return Compare(x, y).Systems[0]
}

const store = "/nix/store/0c0v1b2d3f4g5h6i7j8k9l0m1n2p3q4r-"

func TestFiles(t *testing.T) {
	both := plainLayer(t,
		entry{name: "./", kind: tar.TypeDir, mode: 0o755}, entry{name: "etc/", kind: tar.TypeDir, mode: 0o755},
		entry{name: "etc/same", text: "same"}, entry{name: "etc/gone", text: "x"}, entry{name: "opt/a/b", text: "x"}, entry{name: "opt/c", text: "x"},
		entry{name: "srv", kind: tar.TypeDir}, entry{name: "srv/below", text: "x"}, entry{name: "nix/store/x", text: "not looked at"},
	)
	a := partOf(t, both, plainLayer(t,
		entry{name: "etc/text", text: "old"}, entry{name: "etc/mode", text: "m"}, entry{name: "etc/owner", text: "o"}, entry{name: "etc/kind", text: "k"},
		entry{name: "bin/jq", kind: tar.TypeSymlink, text: store + "jq-1.6/bin/jq"},
		entry{name: "bin/sh", kind: tar.TypeSymlink, text: store + "bash-5.2/bin/sh"},
	))
	b := partOf(t, both, plainLayer(t,
		entry{name: "etc/text", text: "newer"}, entry{name: "etc/mode", text: "m", mode: 0o4755}, entry{name: "etc/owner", text: "o", uid: 7},
		entry{name: "etc/kind", kind: tar.TypeSymlink, text: "same"},
		entry{name: "bin/jq", kind: tar.TypeSymlink, text: store + "jq-1.7/bin/jq"},
		entry{name: "bin/sh", kind: tar.TypeSymlink, text: store + "dash-5.2/bin/sh"},
		entry{name: "etc/.wh.gone"}, entry{name: "opt/.wh..wh..opq"}, entry{name: "opt/c2", text: "x"},
		entry{name: "srv", text: "now a file"}, entry{name: "nix/store/y", text: "nor this"},
		entry{name: "etc/twin", kind: tar.TypeLink, text: "etc/text"}, entry{name: "dev/null", kind: tar.TypeChar},
		entry{name: "ignored", kind: tar.TypeXGlobalHeader, text: "by git"},
	))
	s := compareFiles(t, a, b, 1<<20)
	rows, _, links := s.Rows()
	want := []Row{
		{"file", "/bin/sh", Updated, "→ " + store + "bash-5.2/bin/sh", "→ " + store + "dash-5.2/bin/sh"},
		{"file", "/dev/null", Added, "", "character device, 0:0, 0644"},
		{"file", "/etc/gone", Removed, "file, 1 B 2d711642b726, 0644", ""},
		{"file", "/etc/kind", Updated, "file, 1 B 8254c329a928", "→ same"},
		{"file", "/etc/mode", Updated, "0644", "4755"},
		{"file", "/etc/owner", Updated, "of 0:0", "of 7:0"},
		{"file", "/etc/text", Updated, "3 B cba06b5736fa", "5 B 804f51f71254"},
		{"file", "/etc/twin", Added, "", "file, 5 B 804f51f71254, 0644"},
		{"file", "/opt/a/b", Removed, "file, 1 B 2d711642b726, 0644", ""},
		{"file", "/opt/c", Removed, "file, 1 B 2d711642b726, 0644", ""},
		{"file", "/opt/c2", Added, "", "file, 1 B 2d711642b726, 0644"},
		{"file", "/srv", Updated, "folder", "file, 10 B 92af885f330e"},
		{"file", "/srv/below", Removed, "file, 1 B 2d711642b726, 0644", ""},
	}
	if diff := cmp.Diff(want, rows); diff != "" || links != 1 {
		t.Errorf("%d links\n%s", links, diff)
	}
}

// What an image of the factory writes of its packages does not count; the same file
// of another's does.
func TestRecordedFiles(t *testing.T) {
	db := entry{name: "nix/var/nix/db/db.sqlite", text: "1"}
	a, b := partOf(t, plainLayer(t, db)), partOf(t, plainLayer(t, entry{name: db.name, text: "2"}))
	if s := compareFiles(t, a, b, 1<<20); len(s.Files) != 1 {
		t.Errorf("of others: %+v", s.Files)
	}
	a.made, b.made = true, true
	if s := compareFiles(t, a, b, 1<<20); len(s.Files) != 0 {
		t.Errorf("of the factory: %+v", s.Files)
	}
}

// A layer that says which store paths it has is not read, nor is one of images that
// are the same.
func TestFilesNotRead(t *testing.T) {
	broken := static.NewLayer([]byte("no archive"), types.OCILayer)
	named, err := mutate.Append(empty.Image, mutate.Addendum{Layer: broken, Annotations: map[string]string{layers.PathsAnnotation: path.Base(store + "jq-1.6")}})
	if err != nil {
		t.Fatal(err)
	}
	top, err := mutate.AppendLayers(named, plainLayer(t, entry{name: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	s := compareFiles(t, read(t, named), read(t, top), 1<<20)
	if len(s.Files) != 1 || s.Files[0].Name != "/x" {
		t.Errorf("files %+v, notes %q", s.Files, s.Notes)
	}
	if s := compareFiles(t, partOf(t, broken), partOf(t, broken), 1<<20); !s.Same || strings.Contains(strings.Join(s.Notes, " "), "files") {
		t.Errorf("the same images: notes %q", s.Notes)
	}
}

// What cannot be read is said, and the rest is compared.
func TestFilesNotKnown(t *testing.T) {
	good := plainLayer(t, entry{name: "x", text: "1"})
	gzipped, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archiveOf(t, entry{name: "x", text: "1"})[:512])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		layer v1.Layer
		most  int64
		note  string
	}{
		"no archive":   {static.NewLayer([]byte("no archive"), types.OCILayer), 1 << 20, "files are not known: layer sha256:"},
		"cut off":      {gzipped, 1 << 20, "unexpected EOF"},
		"an encrypted": {static.NewLayer([]byte("x"), "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), 1 << 20, "not one that the factory reads"},
		"large":        {plainLayer(t, entry{name: "x", text: strings.Repeat("x", 5000)}), 4096, "files are not compared: their layers have 8.5 KiB in A and B, more than 4.0 KiB"},
		"long names":   {plainLayer(t, entry{name: strings.Repeat("x/", 2500) + "x", text: "x"}), 1 << 20, "more than 4096 bytes"},
	} {
		s := compareFiles(t, partOf(t, good), partOf(t, c.layer), c.most)
		if text := strings.Join(s.Notes, "\n"); !strings.Contains(text, c.note) || len(s.Files) != 0 || s.Download == nil {
			t.Errorf("%s: files %+v, notes %q, want %q", name, s.Files, s.Notes, c.note)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = ReadFiles(ctx, Image{Parts: []Part{partOf(t, good)}}, Image{Parts: []Part{partOf(t, good, good)}}, 1<<20)
	if err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// No more is remembered than there is room for, whatever kind it has.
func TestTooManyFiles(t *testing.T) {
	room := 2
	c := newContent(&room)
	for i, name := range []string{"a", "dir/.wh.x", "nix/store/free", "b"} {
		err := c.add(&tar.Header{Name: name, Typeflag: tar.TypeDir}, nil)
		if want := map[int]error{3: errTooMany}[i]; err != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// FuzzLayer has any bytes as an archive: what is taken from them has plain names outside
// of the store, and can be shown.
func FuzzLayer(f *testing.F) {
	f.Add(archiveOf(f, entry{name: "../a/./b", text: "x"}, entry{name: "a", kind: tar.TypeSymlink, text: "b"}, entry{name: "a/.wh.b"}, entry{name: "/nix/store/../x", kind: tar.TypeLink, text: "a"}))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		room := 1000
		c := newContent(&room)
		_, err := layers.Scan(bytes.NewReader(data), types.OCIUncompressedLayer, 1<<20, c.add)
		if err != nil {
			return
		}
		files := map[string]file{}
		c.cover(files)
		for name := range files {
			if name == "/" || path.Clean(name) != name || !path.IsAbs(name) || strings.HasPrefix(name, "/nix/store/") {
				t.Errorf("a file %q", name)
			}
		}
		for _, change := range fileChanges(files, nil) {
			change.cells()
		}
	})
}
