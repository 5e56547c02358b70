package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// sample is what an image is made of; a test changes a part of it.
type sample struct {
	layered  []nix.PathInfo // in the layers
	database []nix.PathInfo
	files    []layers.File
	env      map[string]string
	cmd      []string
	plain    bool // without nixpkgs, and with a list in the place of the database
}

type nars map[nix.StorePath][]byte

func (n nars) NAR(_ context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(n[info.Path])), nil
}

var contents = nars{}

// object makes a store object that is one file.
func object(t *testing.T, name string, refs ...nix.PathInfo) nix.PathInfo {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: int64(len(name))}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, name)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{NarSize: int64(b.Len()), NarHash: nix.Hash(sha256.Sum256(b.Bytes()))}
	var err error
	if info.Path, err = nix.SourcePath(name, info.NarHash, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range refs {
		info.References = append(info.References, r.Path)
	}
	contents[info.Path] = b.Bytes()
	return info
}

func good(t *testing.T) sample {
	glibc := object(t, "glibc")
	tool := object(t, "nix", glibc)
	return sample{
		layered:  []nix.PathInfo{glibc, tool},
		database: []nix.PathInfo{glibc, tool},
		files: []layers.File{
			{Path: "/etc/passwd", Mode: 0o644}, {Path: image.InventoryPath, Mode: 0o644, Data: []byte("{}")}, {Path: "/nix/var/nix/db/schema", Mode: 0o644},
			{Path: "/bin/sh", Target: tool.Path.String()}, {Path: "/usr/bin/env", Target: tool.Path.String()},
			{Path: "/nix/profile/bin/nix", Target: tool.Path.String() + "/bin/nix"},
		},
		cmd: []string{"/bin/sh"},
		env: map[string]string{"NIX_LD": glibc.Path.String() + "/lib/ld.so"},
	}
}

func (s sample) facts() image.Facts {
	if s.plain {
		return image.Facts{Recipe: "sha256:1", Name: "plain"}
	}
	return image.Facts{Recipe: "sha256:1", Nixpkgs: &image.Nixpkgs{Channel: "nixos-x", Rev: gittest.Rev("a"), Date: time.Unix(1e9, 0), Repository: "NixOS/nixpkgs"}}
}

func (s sample) image(t *testing.T) v1.Image {
	t.Helper()
	p := layers.Packer{Dir: t.TempDir()}
	var stack []*layers.Layer
	for _, info := range s.layered {
		l, err := p.Objects(t.Context(), contents, []nix.PathInfo{info}, nil)
		if err != nil {
			t.Fatal(err)
		}
		stack = append(stack, l)
	}
	if s.plain {
		s.files = slices.Concat(s.files[:1], []layers.File{inventory(t, s.database)}, s.files[3:])
	} else {
		db := filepath.Join(t.TempDir(), "db.sqlite")
		if err := nixdb.Write(db, s.database); err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, layers.File{Path: "/nix/var/nix/db/db.sqlite", Mode: 0o644, From: db})
	}
	root, err := p.Files(s.files, "")
	if err != nil {
		t.Fatal(err)
	}
	system, err := config.ParseSystem("x86_64-linux")
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Assemble(s.facts(), image.Settings{System: system, Set: toolset.Toolset{Env: s.env, Cmd: s.cmd}}, append(stack, root))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// inventory is that of an image that has no database.
func inventory(t *testing.T, objects []nix.PathInfo) layers.File {
	t.Helper()
	text, err := json.Marshal(image.Inventory{Objects: image.Objects(objects)})
	if err != nil {
		t.Fatal(err)
	}
	return layers.File{Path: image.InventoryPath, Mode: 0o644, Data: text}
}

func (s sample) index(t *testing.T) v1.ImageIndex {
	t.Helper()
	system, err := config.ParseSystem("x86_64-linux")
	if err != nil {
		t.Fatal(err)
	}
	index, err := image.Index([]image.Part{{System: system, Image: s.image(t)}})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestIndex(t *testing.T) {
	tests := []struct {
		name  string
		wrong func(t *testing.T, s *sample)
		want  string // "" for nothing wrong
	}{
		{"nothing wrong", func(*testing.T, *sample) {}, ""},
		{"a layer with more than the database", func(t *testing.T, s *sample) { s.layered = append(s.layered, object(t, "extra")) }, "extra, which the database does not know"},
		{"a database with more than the layers", func(t *testing.T, s *sample) { s.database = append(s.database, object(t, "extra")) }, "extra is in the database and in 0 layers"},
		{"an object in two layers", func(t *testing.T, s *sample) { s.layered = append(s.layered, s.layered[0]) }, "in the database and in 2 layers"},
		{"another NAR hash in the database", func(t *testing.T, s *sample) {
			other := s.database[0]
			other.NarHash[0] ^= 1
			s.database = []nix.PathInfo{other, s.database[1]}
		}, "is not that of the objects in the database"},
		{"a link out of the image", func(t *testing.T, s *sample) {
			s.files = append(s.files, layers.File{Path: "/etc/x", Target: object(t, "extra").Path.String() + "/x"})
		}, "/etc/x leads to"},
		{"an environment out of the image", func(t *testing.T, s *sample) { s.env["X"] = object(t, "extra").Path.String() }, "is started with /nix/store"},
		{"no shell", func(t *testing.T, s *sample) { s.files = append(s.files[:3:3], s.files[4:]...) }, "/bin/sh is missing"},
		{"nothing to start with that one could name", func(t *testing.T, s *sample) { s.files = append(s.files[:3:3], s.files[4:]...); s.cmd = []string{"sh"} }, ""},
		{"a program out of the image", func(t *testing.T, s *sample) { s.cmd = []string{object(t, "extra").Path.String()} }, "is started with /nix/store"},
		{"nothing wrong without nixpkgs", func(_ *testing.T, s *sample) { s.plain = true }, ""},
		{"a layer with more than the list", func(t *testing.T, s *sample) { s.plain, s.layered = true, append(s.layered, object(t, "extra")) }, "extra, which the image's list does not know"},
		{"a list with more than the layers", func(t *testing.T, s *sample) { s.plain, s.database = true, append(s.database, object(t, "extra")) }, "extra is in the image's list and in 0 layers"},
		{"an object that the list refers to and does not have", func(_ *testing.T, s *sample) {
			s.plain, s.database, s.layered, s.env = true, s.database[1:], s.layered[1:], nil
		}, "-glibc, which is not in the image"},
		{"no list", func(_ *testing.T, s *sample) { s.plain, s.database = true, nil }, "no list of the store objects"},
		{"no schema", func(t *testing.T, s *sample) { s.files = append(s.files[:2:2], s.files[3:]...) }, "db/schema is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := good(t)
			tt.wrong(t, &s)
			scratch := t.TempDir()
			err := Index(s.index(t), scratch)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Index() = %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Index() = %v, want an error with %q", err, tt.want)
			}
			if left, _ := filepath.Glob(scratch + "/*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What has nixpkgs has a database.
func TestIndexWithNixpkgsAndWithoutDatabase(t *testing.T) {
	s := good(t)
	s.plain = true
	index := s.index(t)
	annotations := map[string]string{image.RevisionLabel: strings.Repeat("a", 40), image.ChannelLabel: "x", image.NarHashLabel: "x"}
	err := Index(mutate.Annotations(index, annotations).(v1.ImageIndex), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "and no Nix database") {
		t.Errorf("Index() = %v", err)
	}
}

func TestIndexOfNothing(t *testing.T) {
	if err := Index(empty.Index, t.TempDir()); err == nil {
		t.Error("an index without images: no error")
	}
}

func TestIndexThatDisagreesWithItsImages(t *testing.T) {
	index := good(t).index(t)
	other := mutate.Annotations(index, map[string]string{image.RevisionLabel: strings.Repeat("b", 40)}).(v1.ImageIndex)
	if err := Index(other, t.TempDir()); err == nil || !strings.Contains(err.Error(), image.RevisionLabel) {
		t.Errorf("another revision on the index: Index() = %v", err)
	}
	img := good(t).image(t)
	wrong := mutate.Annotations(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        img,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	}), map[string]string{}).(v1.ImageIndex)
	if err := Index(wrong, t.TempDir()); err == nil || !strings.Contains(err.Error(), "platform") {
		t.Errorf("another platform on the index: Index() = %v", err)
	}
}
