package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// sample is what an image is made of, as the factory makes it; a test changes a part
// of it.
type sample struct {
	closure  []nix.PathInfo // in layers of their own
	database []nix.PathInfo
	nars     nars
	from     layers.NARs // nil: nars
	tree     *source.Tree
	sources  []nix.PathInfo
	roots    []nix.StorePath
	facts    image.Facts
	set      toolset.Toolset
	system   config.System
	plain    bool // no nixpkgs, and a list in the place of the database

	// What is done to the entries of layers: the closure's, the source's, the topmost.
	edit map[int]func([]entry) []entry
	// What lies behind the archives of layers that are edited.
	behind string
	// What is done to the layers' own lists.
	relist func([]*layers.Layer) []*layers.Layer
	// What is done to the image and the index that were made.
	after func(v1.Image) v1.Image
}

var key = nixtest.NewSecretKey("cache.example.org-1", [32]byte{1})

type nars map[nix.StorePath][]byte

func (n nars) NAR(_ context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(n[info.Path])), nil
}

// file is a file of a NAR by its text.
func file(path, text string, executable bool) (nar.Entry, string) {
	return nar.Entry{Path: path, Kind: nar.Regular, Executable: executable, Size: int64(len(text))}, text
}

// object makes a signed store object of what write writes.
func (s *sample) object(t testing.TB, name string, write func(*nar.Writer), refs ...nix.PathInfo) nix.PathInfo {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{NarSize: int64(b.Len()), NarHash: sha256.Sum256(b.Bytes())}
	var err error
	if info.Path, err = nix.TextPath(name, nix.Hash(sha256.Sum256([]byte(name))), nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range refs {
		info.References = append(info.References, r.Path)
	}
	info.Sigs = []nix.Signature{key.Sign(info)}
	s.nars[info.Path] = b.Bytes()
	return info
}

// named adds a store object that its content names, and nobody has signed: anybody can
// make one.
func (s *sample) named(t testing.TB, name string, write func(*nar.Writer)) {
	t.Helper()
	info := s.object(t, name, write)
	data := s.nars[info.Path]
	var err error
	if info.Path, err = nix.SourcePath(name, info.NarHash, nil); err != nil {
		t.Fatal(err)
	}
	s.nars[info.Path], info.Sigs, info.CA = data, nil, "fixed:r:sha256:"+info.NarHash.Base32()
	s.closure, s.database, s.roots = append(s.closure, info), append(s.database, info), append(s.roots, info.Path)
}

func put(t testing.TB, w *nar.Writer, e nar.Entry, text string) {
	t.Helper()
	if err := w.WriteEntry(e); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func (s *sample) putFile(t testing.TB, w *nar.Writer, path, text string, executable bool) {
	t.Helper()
	e, text := file(path, text, executable)
	put(t, w, e, text)
}

const versionOfTree = "26.05"

// good is a sample with nothing wrong: a library, a tool that needs it, and nixpkgs.
func good(t testing.TB) *sample {
	t.Helper()
	s := &sample{system: systemOf("x86_64-linux"), nars: nars{}, edit: map[int]func([]entry) []entry{}}
	lib := s.object(t, "glibc-2.40", func(w *nar.Writer) {
		put(t, w, nar.Entry{Kind: nar.Directory}, "")
		put(t, w, nar.Entry{Path: "lib", Kind: nar.Directory}, "")
		s.putFile(t, w, "lib/libc.so.6", "library", true)
		put(t, w, nar.Entry{Path: "lib64", Kind: nar.Symlink, Target: "lib"}, "")
		s.putFile(t, w, "notes", "read me", false)
	})
	tool := s.object(t, "nix-2.31", func(w *nar.Writer) {
		put(t, w, nar.Entry{Kind: nar.Directory}, "")
		put(t, w, nar.Entry{Path: "bin", Kind: nar.Directory}, "")
		s.putFile(t, w, "bin/nix", "program", true)
	}, lib)
	s.closure = []nix.PathInfo{lib, tool}
	s.tree = archive(t)
	for _, name := range []string{config.SourceName, "source"} {
		info, err := s.tree.PathInfo(name)
		if err != nil {
			t.Fatal(err)
		}
		s.sources = append(s.sources, info)
	}
	s.database = slices.Concat(s.closure, s.sources)
	s.roots = []nix.StorePath{tool.Path, s.sources[0].Path, s.sources[1].Path}
	s.set = toolset.Toolset{
		Tools: []toolset.Tool{{Attr: "nix", Name: "nix", Version: "2.31", Path: tool.Path}},
		Cmd:   []string{"/bin/sh"},
		Links: map[string]string{"/bin/sh": tool.Path.String() + "/bin/nix", "/lib64/ld.so": lib.Path.String() + "/lib64/libc.so.6"},
	}
	s.facts = image.Facts{Recipe: "sha256:1", Nixpkgs: &image.Nixpkgs{
		Channel: "nixos-26.05", Rev: gittest.Rev("a"), Date: time.Unix(1e9, 0), Version: versionOfTree, NarHash: s.tree.NarHash, Repository: "NixOS/nixpkgs",
	}}
	return s
}

// archive is a small nixpkgs.
func archive(t testing.TB) *source.Tree {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range []tar.Header{
		{Name: "nixpkgs/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "nixpkgs/default.nix", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "nixpkgs/lib/.version", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "nixpkgs/lib.nix", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "nixpkgs/.version", Typeflag: tar.TypeSymlink, Linkname: "lib/.version"},
	} {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text = versionOfTree
		}
		h.Size = int64(len(text))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Read(t.Context(), &b, source.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func systemOf(name string) config.System {
	system, err := config.ParseSystem(name)
	if err != nil {
		panic(err)
	}
	return system
}

func (s *sample) image(t testing.TB) v1.Image {
	t.Helper()
	p := layers.Packer{Dir: t.TempDir()}
	var from layers.NARs = s.nars
	if s.from != nil {
		from = s.from
	}
	var stack []*layers.Layer
	for _, info := range s.closure {
		l, err := p.Objects(t.Context(), from, []nix.PathInfo{info}, nil)
		if err != nil {
			t.Fatal(err)
		}
		stack = append(stack, l)
	}
	if s.plain {
		s.facts.Nixpkgs, s.facts.Name = nil, "plain"
	} else {
		l, err := p.Linked(t.Context(), s.tree, s.sources)
		if err != nil {
			t.Fatal(err)
		}
		stack = append(stack, l)
	}
	files, err := s.rootfs(t).Files()
	if err != nil {
		t.Fatal(err)
	}
	root, err := p.Files(files, "")
	if err != nil {
		t.Fatal(err)
	}
	stack = append(stack, root)
	for i, l := range stack {
		stack[i] = s.edited(t, p, l, s.edit[i])
	}
	if s.relist != nil {
		stack = s.relist(stack)
	}
	img, err := image.Assemble(s.facts, image.Settings{System: s.system, Set: s.set}, stack)
	if err != nil {
		t.Fatal(err)
	}
	if s.after != nil {
		img = s.after(img)
	}
	return img
}

func (s *sample) rootfs(t testing.TB) image.Root {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.nix"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	list := image.Inventory{System: s.system, Recipe: s.facts.Recipe, Missing: []string{}}
	for _, tool := range s.set.Tools {
		list.Tools = append(list.Tools, image.InventoryTool{Attr: tool.Attr, Name: tool.Name, Version: tool.Version, Path: tool.Path, Files: []string{"bin/nix"}})
	}
	r := image.Root{Image: dir, Set: s.set, Roots: s.roots}
	if s.plain {
		list.Objects = image.Objects(s.closure)
	} else {
		list.Channel, list.Rev = s.facts.Nixpkgs.Channel, gittest.Rev("a")
		for _, src := range s.sources {
			list.Sources = append(list.Sources, src.Path)
		}
		r.Database = filepath.Join(t.TempDir(), "db.sqlite")
		if err := nixdb.Write(r.Database, s.database); err != nil {
			t.Fatal(err)
		}
	}
	r.Inventory = list
	return r
}

func (s *sample) index(t testing.TB) v1.ImageIndex {
	t.Helper()
	index, err := image.Index([]image.Part{{System: s.system, Image: s.image(t)}})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// entry is one of a layer's archive.
type entry struct {
	tar.Header
	text string
}

// edited is a layer whose archive has other entries. It says the same of itself.
func (s *sample) edited(t testing.TB, p layers.Packer, l *layers.Layer, edit func([]entry) []entry) *layers.Layer {
	t.Helper()
	if edit == nil {
		return l
	}
	var entries []entry
	err := layers.Read(l, func(h *tar.Header, r io.Reader) error {
		text, err := io.ReadAll(r)
		entries = append(entries, entry{*h, string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range edit(entries) {
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.text))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString(s.behind)
	made, err := p.Foreign(&b)
	if err != nil {
		t.Fatal(err)
	}
	made.Key, made.Paths, made.CreatedBy = l.Key, l.Paths, l.CreatedBy
	return made
}

// change edits the entry whose name ends so.
func change(suffix string, edit func(*entry)) func([]entry) []entry {
	return func(entries []entry) []entry {
		for i := range entries {
			if strings.HasSuffix(strings.TrimSuffix(entries[i].Name, "/"), suffix) {
				edit(&entries[i])
			}
		}
		return entries
	}
}

// without removes the entries whose names have a part.
func without(part string) func([]entry) []entry {
	return func(entries []entry) []entry {
		return slices.DeleteFunc(entries, func(e entry) bool { return strings.Contains(e.Name, part) })
	}
}

// with adds an entry like the first of its kind.
func with(name string, kind byte, also func(*entry)) func([]entry) []entry {
	return func(entries []entry) []entry {
		e := entry{Header: tar.Header{Name: name, Typeflag: kind, Mode: 0o444, ModTime: time.Unix(1, 0)}}
		if also != nil {
			also(&e)
		}
		return append(entries, e)
	}
}

// asked answers for the commit of the samples.
type asked struct {
	commit heads.Commit
	err    error
	fork   bool // the channel does not have it
}

func (a asked) Contains(_ context.Context, channel string, _ git.Rev) (bool, error) {
	return !a.fork && channel == "nixos-26.05", nil
}

// known answers for store objects.
type known []nix.PathInfo

func (k known) Info(_ context.Context, p nix.StorePath) (nix.PathInfo, error) {
	for _, info := range k {
		if info.Path == p {
			return info, nil
		}
	}
	return nix.PathInfo{}, errors.New(p.Base() + ": not found")
}

func (a asked) Commit(context.Context, string) (heads.Commit, error) { return a.commit, a.err }

func (s *sample) options(t testing.TB) Options {
	return Options{
		Keys: []nix.PublicKey{key.Public()}, Scratch: t.TempDir(),
		Commits: asked{commit: heads.Commit{Rev: gittest.Rev("a"), Tree: s.tree.TreeID, Date: time.Unix(1e9, 0).UTC()}},
	}
}

func text(t testing.TB, r Report) string {
	t.Helper()
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
