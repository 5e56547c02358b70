package archive_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// layout is an OCI layout that is being written.
type layout struct {
	t       testing.TB
	entries []entry
}

// blob adds a blob and returns its descriptor.
func (l *layout) blob(media types.MediaType, data []byte) v1.Descriptor {
	l.entries = append(l.entries, entry{name: "blobs/sha256/" + sum(data).Hex, data: data})
	return v1.Descriptor{MediaType: media, Size: int64(len(data)), Digest: sum(data)}
}

// image adds an image for a platform, such as arm64, with a layer as it is compressed.
func (l *layout) image(arch string, media types.MediaType, tar, compressed []byte) v1.Descriptor {
	conf := l.blob(types.OCIConfigJSON, config(l.t, map[string]any{"architecture": arch}, tar))
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: conf, Layers: []v1.Descriptor{l.blob(media, compressed)}}
	desc := l.blob(types.OCIManifestSchema1, marshal(l.t, m))
	desc.Platform = &v1.Platform{OS: "linux", Architecture: arch}
	return desc
}

// attestation adds what buildx says of an image.
func (l *layout) attestation(of v1.Descriptor) v1.Descriptor {
	statement := l.blob("application/vnd.in-toto+json", []byte(`{"_type":"statement"}`))
	conf := l.blob(types.OCIConfigJSON, []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":["`+statement.Digest.String()+`"]}}`))
	desc := l.blob(types.OCIManifestSchema1, marshal(l.t, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: conf, Layers: []v1.Descriptor{statement}}))
	desc.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	desc.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest.String()}
	return desc
}

func (l *layout) index(manifests ...v1.Descriptor) []byte {
	return marshal(l.t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests})
}

// done writes index.json.
func (l *layout) done(manifests ...v1.Descriptor) []entry {
	return append(l.entries, entry{name: "index.json", data: l.index(manifests...)}, entry{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)})
}

func named(desc v1.Descriptor, name string) v1.Descriptor {
	desc.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	return desc
}

// skopeoLayout has one image.
func skopeoLayout(t testing.TB) []entry {
	one, _ := both(t)
	l := &layout{t: t}
	return l.done(named(l.image("amd64", types.OCILayer, one, gzipped(t, one)), "latest"))
}

// buildxLayout has an index of two platforms and what is attached to them.
func buildxLayout(t testing.TB) []entry {
	one, two := both(t)
	l := &layout{t: t}
	a, b := l.image("amd64", types.OCILayer, one, gzipped(t, one)), l.image("arm64", types.OCILayerZStd, two, zstded(t, two))
	inner := l.index(a, b, l.attestation(a), l.attestation(b))
	return l.done(named(l.blob(types.OCIImageIndex, inner), "main"))
}

// bazelLayout has two platforms in index.json itself.
func bazelLayout(t testing.TB) []entry {
	one, two := both(t)
	l := &layout{t: t}
	return l.done(l.image("amd64", types.OCILayer, one, gzipped(t, one)), l.image("arm64", types.OCILayer, two, gzipped(t, two)))
}

// plainLayout has layers that are not compressed, and something attached to them.
func plainLayout(t testing.TB) []entry {
	one, _ := both(t)
	l := &layout{t: t}
	a := l.image("amd64", types.OCIUncompressedLayer, one, one)
	return l.done(l.blob(types.OCIImageIndex, l.index(a, l.attestation(a))))
}

// partLayout has an index of which one platform is left out.
func partLayout(t testing.TB) []entry {
	one, _ := both(t)
	l := &layout{t: t}
	a := l.image("amd64", types.OCILayer, one, gzipped(t, one))
	other := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: 1, Digest: sum([]byte("other")), Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}
	return l.done(l.blob(types.OCIImageIndex, l.index(a, other, l.attestation(a), l.attestation(other))))
}

// unpack writes entries into a folder, each blob as a link to somewhere else.
func unpack(t testing.TB, entries []entry) string {
	t.Helper()
	dir, store := t.TempDir(), t.TempDir()
	for _, e := range entries {
		at := filepath.Join(dir, filepath.FromSlash(e.name))
		elsewhere := filepath.Join(store, filepath.Base(at))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(elsewhere, e.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(at); err == nil {
			continue
		}
		if err := os.Symlink(elsewhere, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOCI(t *testing.T) {
	one, two := both(t)
	tests := []struct {
		name      string
		entries   []entry
		platforms string
		attached  int
		index     bool // kept as it is
		manifests bool // likewise
		layers    []v1.Hash
	}{
		{"skopeo", skopeoLayout(t), "linux/amd64", 0, false, true, []v1.Hash{sum(one)}},
		{"buildx", buildxLayout(t), "linux/amd64 linux/arm64", 2, true, true, []v1.Hash{sum(one), sum(two)}},
		{"Bazel", bazelLayout(t), "linux/amd64 linux/arm64", 0, false, true, []v1.Hash{sum(one), sum(two)}},
		{"not compressed", plainLayout(t), "linux/amd64", 0, false, false, []v1.Hash{sum(one)}},
		{"a platform that is left out", partLayout(t), "linux/amd64", 1, false, true, []v1.Hash{sum(one)}},
	}
	for _, test := range tests {
		sources := ways(t, pack(t, test.entries...), archive.Options{})
		sources["folder"] = archive.Folder(unpack(t, test.entries), archive.Options{})
		for way, source := range sources {
			t.Run(test.name+" as "+way, func(t *testing.T) {
				set, got, err := collect(t, source)
				if err != nil {
					t.Fatal(err)
				}
				var platforms []string
				for i, img := range set.Images {
					platforms = append(platforms, img.Platform.String())
					if (img.Manifest != nil) != test.manifests || (img.Layers[0].Blob != nil) != test.manifests {
						t.Errorf("image %d: manifest %s, blob %v", i, img.Manifest, img.Layers[0].Blob)
					}
					if want := test.layers[i]; img.Layers[0].DiffID != want || got[want] == nil {
						t.Errorf("image %d: layer %s, want %s", i, img.Layers[0].DiffID, want)
					}
				}
				if got := strings.Join(platforms, " "); got != test.platforms || len(set.Attached) != test.attached || (set.Index != nil) != test.index {
					t.Errorf("platforms %q, %d attached, index %s", got, len(set.Attached), set.Index)
				}
			})
		}
	}
}

func TestOCISelect(t *testing.T) {
	one, two := both(t)
	l := &layout{t: t}
	a := named(l.image("amd64", types.OCILayer, one, gzipped(t, one)), "a")
	b := named(l.image("amd64", types.OCILayer, two, gzipped(t, two)), "registry.example.org/b:1")
	dir := unpack(t, l.done(a, b))
	for selected, want := range map[string]string{
		"a": sum(one).String(), b.Digest.String(): sum(two).String(), "registry.example.org/b:1": sum(two).String(),
		"": "there are 2 images: choose one with --select (a, registry.example.org/b:1)", "c": `no image is called "c"`,
	} {
		set, _, err := collect(t, archive.Folder(dir, archive.Options{Select: selected}))
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("--select %q: %v, want %s", selected, err, want)
			}
		} else if got := set.Images[0].Layers[0].DiffID.String(); got != want {
			t.Errorf("--select %q: layer %s, want %s", selected, got, want)
		}
	}
}

func TestBadLayouts(t *testing.T) {
	one, two := both(t)
	without := func(entries []entry, part string) []entry {
		var kept []entry
		for _, e := range entries {
			if !bytes.Contains(e.data, []byte(part)) {
				kept = append(kept, e)
			}
		}
		return kept
	}
	damaged := func() []entry {
		entries := skopeoLayout(t)
		for i, e := range entries {
			if bytes.Contains(e.data, []byte(`"architecture"`)) {
				entries[i].data = bytes.Replace(e.data, []byte("amd64"), []byte("amd65"), 1)
			}
		}
		return entries
	}
	again := func() []entry { // as another compressor has it
		entries := skopeoLayout(t)
		for i, e := range entries {
			if bytes.Equal(e.data, gzipped(t, one)) {
				entries[i].data = zstded(t, one)
			}
		}
		return entries
	}
	wrong := &layout{t: t}
	large := &layout{t: t}
	about := func(of v1.Descriptor) v1.Descriptor {
		desc := large.blob(types.OCIManifestSchema1, marshal(t, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
			Config: large.blob(types.OCIConfigJSON, []byte("{}")), Layers: []v1.Descriptor{large.blob("application/octet-stream", bytes.Repeat([]byte("x"), 1000))}}))
		desc.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest.String()}
		return desc
	}
	attested := large.image("amd64", types.OCILayer, one, gzipped(t, one))
	chart := &layout{t: t}
	for _, test := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"no configuration", without(skopeoLayout(t), `"rootfs"`), "the archive does not have it"},
		{"no manifest", without(skopeoLayout(t), `"config"`), "its manifest is not there"},
		{"a damaged configuration", damaged(), "its digest is"},
		{"a layer that is not its digest", again(), "its digest is " + sum(zstded(t, one)).String()},
		{"a layer that is not its diffID", wrong.done(wrong.image("amd64", types.OCILayer, one, gzipped(t, two))), "its diffID is " + sum(two).String()},
		{"an attachment that is no document", large.done(attested, about(attested)), "push it from a file"},
		{"no image", chart.done(chart.blob("application/vnd.example", []byte("{}"))), `its type is "application/vnd.example"`},
		{"nothing", (&layout{t: t}).done(), "there is no image"},
	} {
		_, _, err := collect(t, archive.Stream("-", io.NopCloser(bytes.NewReader(pack(t, test.entries...))), archive.Options{}))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte, mode os.FileMode) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, data, mode); err != nil {
			t.Fatal(err)
		}
		return at
	}
	whole := pack(t, streamed(t)...)
	for name, want := range map[string]archive.Kind{
		file("image.tar", whole, 0o644):                archive.IsArchive,
		file("image.tar.gz", gzipped(t, whole), 0o444): archive.IsArchive,
		file("image", zstded(t, whole), 0o755):         archive.IsArchive,
		file("image.json", []byte("{}"), 0o644):        archive.IsDocument,
		file("stream", []byte("#!/bin/sh\n"), 0o555):   archive.IsScript,
		unpack(t, skopeoLayout(t)):                     archive.IsLayout,
		file("text", []byte("#!/bin/sh\n"), 0o644):     "",
		file("empty", nil, 0o755):                      "",
		dir:                                            "",
		filepath.Join(dir, "none"):                     "",
	} {
		got, err := archive.Find(name)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("Find(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
}

// TestImageIsNotAttached is about an image whose index says that it describes
// another one: its layers would be held against nothing.
func TestImageIsNotAttached(t *testing.T) {
	one, two := both(t)
	l := &layout{t: t}
	good, lying := l.image("amd64", types.OCILayer, one, gzipped(t, one)), l.image("arm64", types.OCILayer, one, gzipped(t, two))
	lying.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": good.Digest.String()}
	for way, source := range ways(t, pack(t, l.done(l.blob(types.OCIImageIndex, l.index(good, lying)))...), archive.Options{}) {
		set, err := source.Images(t.Context(), func(_ context.Context, _ string, _ v1.Hash, r io.Reader) (archive.Taken, error) {
			id, err := layers.Identify(r)
			return archive.Taken{Digest: id.Digest, DiffID: id.DiffID}, err
		})
		switch want := "its diffID is " + sum(two).String(); {
		case way == "file" && (err != nil || len(set.Attached) != 0 || set.Images[1].Layers[0].DiffID != sum(one)):
			t.Errorf("%s: %+v, %v, want two images", way, set, err)
		case way != "file" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %s", way, err, want)
		}
		source.Close()
	}
}
