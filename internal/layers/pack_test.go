package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/progress"
)

// object returns the path info of a store path whose digest is made from seed.
func object(t testing.TB, seed int, name string, size int64, refs ...nix.PathInfo) nix.PathInfo {
	t.Helper()
	digest := strings.Repeat("0", 32-len(fmt.Sprint(seed))) + fmt.Sprint(seed)
	p, err := nix.ParseStorePathBase(digest + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{Path: p, NarSize: size}
	for _, r := range refs {
		info.References = append(info.References, r.Path)
	}
	return info
}

// memory holds NARs by path; an answer is taken from the front of its list
// until one is left.
type memory map[nix.StorePath][][]byte

func (m memory) NAR(_ context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	answers := m[info.Path]
	if len(answers) > 1 {
		m[info.Path] = answers[1:]
	}
	return io.NopCloser(bytes.NewReader(answers[0])), nil
}

type entry struct {
	nar.Entry
	content string
}

func file(path, content string) entry {
	return entry{nar.Entry{Path: path, Kind: nar.Regular, Size: int64(len(content))}, content}
}

func dir(path string) entry { return entry{Entry: nar.Entry{Path: path, Kind: nar.Directory}} }

func link(path, target string) entry {
	return entry{Entry: nar.Entry{Path: path, Kind: nar.Symlink, Target: target}}
}

func exec(e entry) entry { e.Executable = true; return e }

// packed returns a NAR of the entries and its object.
func packed(t testing.TB, seed int, name string, entries ...entry) (nix.PathInfo, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteEntry(e.Entry); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := object(t, seed, name, int64(b.Len()))
	info.NarHash = nix.Hash(sha256.Sum256(b.Bytes()))
	return info, b.Bytes()
}

func listTar(t testing.TB, l v1.Layer) []string {
	t.Helper()
	rc, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var list []string
	r := tar.NewReader(rc)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %04o %s", h.Typeflag, h.Mode, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(content) > 0 {
			line += " = " + string(content)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 1 {
			line += fmt.Sprintf(" (uid %d gid %d %q %q time %v)", h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime)
		}
		list = append(list, line)
	}
}

func TestObjects(t *testing.T) {
	tool, toolNAR := packed(t, 1, "tool-1.0", dir(""), dir("bin"), link("bin/t", "tool"), exec(file("bin/tool", "#!x")), file("note", ""))
	lone, loneNAR := packed(t, 2, "lone", file("", "text"))
	for _, encoding := range []Encoding{Gzip, Zstd} {
		t.Run(string(encoding), func(t *testing.T) {
			p := Packer{Dir: t.TempDir(), Encoding: encoding}
			nars := memory{tool.Path: {toolNAR}, lone.Path: {loneNAR}}
			layer, err := p.Objects(t.Context(), nars, []nix.PathInfo{tool, lone}, map[nix.StorePath]bool{tool.Path: true})
			if err != nil {
				t.Fatal(err)
			}
			at := "nix/store/" + tool.Path.Base()
			want := []string{
				"5 0755 nix/", "5 0755 nix/store/",
				"5 0555 " + at + "/", "5 0555 " + at + "/bin/",
				"2 0777 " + at + "/bin/t -> tool", "0 0555 " + at + "/bin/tool = #!x", "0 0444 " + at + "/note",
				"0 0444 nix/store/" + lone.Path.Base() + " = text",
			}
			if diff := cmp.Diff(want, listTar(t, layer)); diff != "" {
				t.Errorf("archive mismatch (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"bin/t", "bin/tool", "note"}, layer.Listings[tool.Path]); diff != "" {
				t.Errorf("listing mismatch (-want +got):\n%s", diff)
			}
			if layer.Listings[lone.Path] != nil {
				t.Errorf("listing of an object that was not asked for: %v", layer.Listings[lone.Path])
			}
			checkDigests(t, layer)
		})
	}
}

// checkDigests holds a layer's digests and size against its bytes.
func checkDigests(t *testing.T, l v1.Layer) {
	t.Helper()
	for _, c := range []struct {
		what string
		open func() (io.ReadCloser, error)
		want func() (v1.Hash, error)
	}{{"digest", l.Compressed, l.Digest}, {"diffID", l.Uncompressed, l.DiffID}} {
		rc, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		got, n, err := v1.SHA256(rc)
		rc.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := c.want(); got != want {
			t.Errorf("%s is %s, the bytes give %s", c.what, want, got)
		}
		if size, _ := l.Size(); c.what == "digest" && n != size {
			t.Errorf("size is %d, want %d", size, n)
		}
	}
}

func TestObjectsRefusesWhatDoesNotFit(t *testing.T) {
	good, goodNAR := packed(t, 1, "good", dir(""), file("a", "aaaa"))
	tests := []struct {
		name string
		nar  []byte
		want string
	}{
		{"another hash", bytes.Replace(goodNAR, []byte("aaaa"), []byte("bbbb"), 1), "NAR hash is"},
		{"truncated", goodNAR[:len(goodNAR)-16], "EOF"},
		{"too long", append(bytes.Clone(goodNAR), make([]byte, 8)...), good.Path.Base()},
		{"no NAR", []byte(strings.Repeat("x", len(goodNAR))), good.Path.Base()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Packer{Dir: t.TempDir()}
			_, err := p.Objects(t.Context(), memory{good.Path: {tt.nar}}, []nix.PathInfo{good}, nil)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Path != good.Path || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Objects() = %v, want a CorruptError for %s with %q", err, good.Path, tt.want)
			}
			wantEmpty(t, p.Dir)
		})
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left behind: %s", e.Name())
	}
}

func TestObjectsFetchesACorruptNAROnceMore(t *testing.T) {
	good, goodNAR := packed(t, 1, "good", dir(""), file("a", "aaaa"))
	bad := bytes.Replace(goodNAR, []byte("aaaa"), []byte("bbbb"), 1)
	p := Packer{Dir: t.TempDir()}
	if _, err := p.Objects(t.Context(), memory{good.Path: {bad, goodNAR}}, []nix.PathInfo{good}, nil); err != nil {
		t.Errorf("one corrupt answer, then a good one: %v", err)
	}
	if _, err := p.Objects(t.Context(), memory{good.Path: {bad, bad, goodNAR}}, []nix.PathInfo{good}, nil); err == nil {
		t.Error("two corrupt answers: no error")
	}
}

// doubted are caches of which the first one has a wrong NAR, and is not asked again
// once it was told so.
type doubted struct {
	nars   [][]byte
	doubts int
}

type doubtedNAR struct {
	io.Reader
	of *doubted
}

func (d *doubted) NAR(context.Context, nix.PathInfo) (io.ReadCloser, error) {
	return &doubtedNAR{bytes.NewReader(d.nars[d.doubts]), d}, nil
}

func (n *doubtedNAR) Doubt()       { n.of.doubts++ }
func (n *doubtedNAR) Close() error { return nil }

type shown struct{ progress.Task }

func (shown) Add(int64) {}

type counting struct{ *doubted }

func (c counting) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	rc, err := c.doubted.NAR(ctx, info)
	return progress.Count(rc, shown{}), err
}

func TestObjectsDoubtsACorruptNAR(t *testing.T) {
	good, goodNAR := packed(t, 1, "good", dir(""), file("a", "aaaa"))
	for what, bad := range map[string][]byte{"another": bytes.Replace(goodNAR, []byte("aaaa"), []byte("bbbb"), 1), "cut off": goodNAR[:99]} {
		d := &doubted{nars: [][]byte{bad, goodNAR}}
		p := Packer{Dir: t.TempDir()}
		if _, err := p.Objects(t.Context(), counting{d}, []nix.PathInfo{good}, nil); err != nil || d.doubts != 1 {
			t.Errorf("%s: %v after %d doubts, want one", what, err, d.doubts)
		}
	}
}

func TestObjectsRefusesWhiteouts(t *testing.T) {
	evil, evilNAR := packed(t, 1, "evil", dir(""), file(".wh.passwd", ""))
	p := Packer{Dir: t.TempDir()}
	_, err := p.Objects(t.Context(), memory{evil.Path: {evilNAR}}, []nix.PathInfo{evil}, nil)
	if err == nil || !strings.Contains(err.Error(), ".wh.passwd") {
		t.Errorf("Objects() = %v, want an error that names .wh.passwd", err)
	}
	wantEmpty(t, p.Dir)
}

// compressible returns n bytes of text with repetitions near and far.
func compressible(n int) string {
	rng := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "{ pkgs%d = import ./%d.nix; version = \"%d\"; }\n", rng.IntN(100), rng.IntN(5000), rng.Uint64())
	}
	return b.String()[:n]
}

func TestTheSameBytesWhateverTheMachine(t *testing.T) {
	big, bigNAR := packed(t, 1, "big", dir(""), file("text", compressible(12<<20)))
	for _, encoding := range []Encoding{Gzip, Zstd} {
		var want v1.Hash
		for round, procs := range []int{1, 2, 16, 7, 1} {
			old := runtime.GOMAXPROCS(procs)
			layer, err := Packer{Dir: t.TempDir(), Encoding: encoding}.Objects(t.Context(), memory{big.Path: {bigNAR}}, []nix.PathInfo{big}, nil)
			runtime.GOMAXPROCS(old)
			if err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				want = layer.digest
			} else if layer.digest != want {
				t.Errorf("%s with %d processors: digest %s, with one %s", encoding, procs, layer.digest, want)
			}
		}
	}
}

// narrow takes a number of bytes.
type narrow struct{ room int }

func (n *narrow) Write(p []byte) (int, error) {
	if n.room -= len(p); n.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

// A disk that is full again and again must not fill the memory as well.
func TestAFailedCompressorEnds(t *testing.T) {
	noise := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	running := func() int {
		stacks := make([]byte, 4<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "klauspost")
	}
	before := running()
	for _, encoding := range []Encoding{Gzip, Zstd} {
		for _, room := range []int{0, 15, 1 << 20, 2 << 20, len(noise)} {
			z, err := encoding.compress(&narrow{room}, gzipTools)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(z, bytes.NewReader(noise))
			if end := z.Close(); err == nil && end == nil {
				t.Errorf("%s, %d bytes: no error", encoding, room)
			}
		}
	}
	after := running()
	for range 500 { // one that is done may not be gone
		if after <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
		after = running()
	}
	t.Errorf("%d lines of stacks in compressors, before %d", after, before)
}

// A change of these digests changes the digest of every image: then tarFormat,
// the levels or the versions in Identity must change, too.
func TestPinnedDigests(t *testing.T) {
	text := compressible(3 << 20)
	content := []entry{dir(""), dir("bin"), exec(file("bin/tool", "#!x")), file("text", text)}
	tool, toolNAR := packed(t, 1, "tool-1.0", content...)
	objects := []nix.PathInfo{tool}
	for name, is := range map[string]struct {
		pack       func(Packer) (*Layer, error)
		gzip, zstd string
	}{
		"store paths": {
			func(p Packer) (*Layer, error) {
				return p.Objects(t.Context(), memory{tool.Path: {toolNAR}}, objects, nil)
			},
			"27f35168b16ca6eb4a805c58188fd3292e058a7cfad544d9d42a88e47817d07d",
			"046caedf717a38a0ac3d98d7e7592ea24dbca69310e6181d3330992e7ef64801",
		},
		"a source": {
			func(p Packer) (*Layer, error) { return p.Linked(t.Context(), walker(content), objects) },
			"8cb5c1c23bc835f5087bbebd97258695006e300cf95c4205b337edf981e5ec75",
			"046caedf717a38a0ac3d98d7e7592ea24dbca69310e6181d3330992e7ef64801",
		},
		"files": {
			func(p Packer) (*Layer, error) {
				return p.Files([]File{{Path: "/text", Mode: 0o644, Data: []byte(text)}}, "")
			},
			"01782846cb443ea3afadb8fb481e2995e0ae1a60603d7644d66c32edeff66ca0",
			"b506e741e848f88f3719877d96dd79b916ff4ace61a3f062850f844805acf905",
		},
		"what others made": {
			func(p Packer) (*Layer, error) { return p.Foreign(strings.NewReader(text)) },
			"45ab1ae31d46adcba91f1a5fd48120e823ae6956a1f81a206ba4a96ecba21b48",
			"d6eb8ae17dc5952a4adb4f18345f0cccdc07ebffcee60bb4a14ab6e7664793d8",
		},
	} {
		for encoding, want := range map[Encoding]string{Gzip: is.gzip, Zstd: is.zstd} {
			layer, err := is.pack(Packer{Dir: t.TempDir(), Encoding: encoding})
			if err != nil {
				t.Fatal(err)
			}
			if layer.digest.Hex != want {
				t.Errorf("%s, %s: digest %s, want %s", name, encoding, layer.digest.Hex, want)
			}
		}
	}
}

func TestVersionsAreThoseOfGoMod(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{
		"github.com/klauspost/pgzip":    pgzipVersion,
		"github.com/klauspost/compress": compressVersion,
	} {
		m := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(mod)
		if m == nil || string(m[1]) != want {
			t.Errorf("%s: Identity says %s, go.mod says %s", module, want, m)
		}
	}
}

func TestKeyVariesWithEveryInput(t *testing.T) {
	a, _ := packed(t, 1, "a", file("", "1"))
	b, _ := packed(t, 2, "b", file("", "2"))
	otherHash, otherSize := a, a
	otherHash.NarHash = b.NarHash
	otherSize.NarSize++
	keys := map[string]Key{
		"a b":        KeyOf(Gzip, []nix.PathInfo{a, b}),
		"b a":        KeyOf(Gzip, []nix.PathInfo{b, a}),
		"a":          KeyOf(Gzip, []nix.PathInfo{a}),
		"other hash": KeyOf(Gzip, []nix.PathInfo{otherHash}),
		"other size": KeyOf(Gzip, []nix.PathInfo{otherSize}),
		"zstd":       KeyOf(Zstd, []nix.PathInfo{a}),
		"linked":     LinkedKeyOf(Gzip, []nix.PathInfo{a}),
		"zstd link":  LinkedKeyOf(Zstd, []nix.PathInfo{a}),
	}
	seen := make(map[Key]string)
	for name, key := range keys {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
	}
}

type walker []entry

func (w walker) Walk(fn func(nar.Entry, io.Reader) error) error {
	for _, e := range w {
		if err := fn(e.Entry, strings.NewReader(e.content)); err != nil {
			return err
		}
	}
	return nil
}

func TestLinked(t *testing.T) {
	tree := walker{dir(""), dir("lib"), exec(file("lib/run", "go")), link("lib/up", "../x"), file("x", "1")}
	first, _ := packed(t, 1, "nixpkgs-src", tree...)
	second := object(t, 2, "source", first.NarSize)
	second.NarHash = first.NarHash
	layer, err := Packer{Dir: t.TempDir()}.Linked(t.Context(), tree, []nix.PathInfo{first, second})
	if err != nil {
		t.Fatal(err)
	}
	a, b := "nix/store/"+first.Path.Base(), "nix/store/"+second.Path.Base()
	want := []string{
		"5 0755 nix/", "5 0755 nix/store/",
		"5 0555 " + a + "/", "5 0555 " + a + "/lib/", "0 0555 " + a + "/lib/run = go", "2 0777 " + a + "/lib/up -> ../x", "0 0444 " + a + "/x = 1",
		"5 0555 " + b + "/", "5 0555 " + b + "/lib/", "1 0555 " + b + "/lib/run -> " + a + "/lib/run", "2 0777 " + b + "/lib/up -> ../x", "1 0444 " + b + "/x -> " + a + "/x",
	}
	if diff := cmp.Diff(want, listTar(t, layer)); diff != "" {
		t.Errorf("archive mismatch (-want +got):\n%s", diff)
	}
}

func TestFiles(t *testing.T) {
	layer, err := Packer{Dir: t.TempDir()}.Files([]File{
		{Path: "/tmp", Dir: true, Mode: 0o1777},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte("root")},
		{Path: "/bin/sh", Target: "/run/profile/bin/sh"},
		{Path: "/etc-x", Mode: 0o644},
	}, "files")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 0755 bin/", "2 0777 bin/sh -> /run/profile/bin/sh",
		"5 0755 etc/", "0 0644 etc/passwd = root", "0 0644 etc-x", "5 1777 tmp/",
	}
	if diff := cmp.Diff(want, listTar(t, layer)); diff != "" {
		t.Errorf("archive mismatch (-want +got):\n%s", diff)
	}
}

func TestFilesRefusesConflicts(t *testing.T) {
	for name, files := range map[string][]File{
		"twice":            {{Path: "/a", Data: []byte("1")}, {Path: "/a", Target: "b"}},
		"folder and file":  {{Path: "/a", Dir: true, Mode: 0o755}, {Path: "/a"}},
		"below a file":     {{Path: "/a"}, {Path: "/a/b"}},
		"relative":         {{Path: "a"}},
		"not clean":        {{Path: "/a/../b"}},
		"two folder modes": {{Path: "/a", Dir: true, Mode: 0o700}, {Path: "/a", Dir: true, Mode: 0o755}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Packer{Dir: t.TempDir()}
			if _, err := p.Files(files, ""); err == nil {
				t.Error("no error")
			}
			wantEmpty(t, p.Dir)
		})
	}
}

func BenchmarkLinked(b *testing.B) {
	tree := walker{dir(""), file("text", compressible(64<<20))}
	first, _ := packed(b, 1, "nixpkgs-src", tree...)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, err := (Packer{Dir: b.TempDir()}).Linked(b.Context(), tree, []nix.PathInfo{first}); err != nil {
			b.Fatal(err)
		}
	}
}
