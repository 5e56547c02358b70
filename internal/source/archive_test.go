package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// member describes one member of an archive.
type member struct {
	kind    byte // regular if 0
	name    string
	data    string
	mode    int64 // 0664, 0775 for a directory, if 0
	link    string
	records map[string]string
}

func dir(name string) member           { return member{kind: tar.TypeDir, name: name} }
func regular(name, data string) member { return member{name: name, data: data} }
func program(name, data string) member { return member{name: name, data: data, mode: 0o775} }
func symlink(name, target string) member {
	return member{kind: tar.TypeSymlink, name: name, link: target}
}
func hardlink(name, target string) member {
	return member{kind: tar.TypeLink, name: name, link: target}
}
func global(records map[string]string) member {
	return member{kind: tar.TypeXGlobalHeader, name: "pax_global_header", records: records}
}

// tarOf makes a tar stream.
func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, m := range members {
		hdr := &tar.Header{Typeflag: m.kind, Name: m.name, Size: int64(len(m.data)), Mode: m.mode, Linkname: m.link}
		switch {
		case m.kind == tar.TypeXGlobalHeader:
			hdr.PAXRecords = m.records
		case m.kind == 0:
			hdr.Typeflag = tar.TypeReg
			fallthrough
		default:
			hdr.Uname, hdr.Gname = "root", "root"
			if m.mode == 0 {
				hdr.Mode = 0o664
				if m.kind == tar.TypeDir {
					hdr.Mode = 0o775
				}
			}
		}
		if err := tw.WriteHeader(hdr); err != nil {
			t.Fatalf("member %q: %v", m.name, err)
		}
		if _, err := io.WriteString(tw, m.data); err != nil {
			t.Fatalf("member %q: %v", m.name, err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// read reads an archive that must be good, and closes the tree at the end of the test.
func read(t testing.TB, archive []byte) *Tree {
	t.Helper()
	tree, err := Read(context.Background(), bytes.NewReader(archive), Options{Name: "good.tar.gz", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// orders has names that git, NARs and whole paths order differently.
var orders = []member{
	global(map[string]string{"comment": "0123456789abcdef0123456789abcdef01234567"}),
	dir("repo-x/"),
	regular("repo-x/foo-1", "2"),
	regular("repo-x/foo.nix", "3"),
	dir("repo-x/foo/"),
	regular("repo-x/foo/x", "1"),
	regular("repo-x/foo0", "4"),
	symlink("repo-x/lnk", "foo/x"),
	dir("repo-x/sub/"),
	program("repo-x/x.sh", "#!/bin/sh\n"),
}

// allKinds is a tree of every kind of entry, without the top-level directory.
var allKinds = []member{
	regular("a", "hello\n"),
	dir("emptydir/"),
	symlink("link", "a"),
	program("run.sh", "#!/bin/sh\necho hi\n"),
	regular("sub/one", "x"),
}

func below(top string, members []member) []member {
	out := []member{dir(top + "/")}
	for _, m := range members {
		m.name = top + "/" + m.name
		out = append(out, m)
	}
	return out
}

// The hashes and paths are those that Nix 2.8 computed.
func TestVectors(t *testing.T) {
	const src = "nixpkgs-src"
	tests := []struct {
		name    string
		members []member
		size    int64
		hash    string
		object  string // name of the store object
		path    string
	}{
		{"git order", orders, 1624, "1fydhzffcyg4mgaqbp9hci2h9ad8amx61znzkvz97gps972ka2n4", src, "d6jw36s8xfawpgq16112zypcdl7xqkz9-nixpkgs-src"},
		{"git order as source", orders, 1624, "c40a35c549fabe93fe9edffe607a55a8a904456430dd85d5abe479e6dc87cdbb", "source", "9ab87nnnf879msn520s2k0g52rif5bk6-source"},
		{"all kinds", below("top", allKinds), 1248, "sha256-Ayg8R2ehIqNaNuH7aSBiHTvcfUoCD/xMg9A3OhDPDsY=", src, "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-nixpkgs-src"},
		{"all kinds as source", below("top", allKinds), 1248, "1ihfrw83ldyhhd6gq3q299yxqfqxc8h6kyz16rda68m1cx3kqa03", "source", "4mnj59s0wk3al06m7pki7dxiay2i2qbl-source"},
		{"lone empty file", []member{regular("f", "")}, 112, "77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e246", src, "23xiy7zlx8pbvp1vn4bfn17hv0xbcsf7-nixpkgs-src"},
		{"lone file", []member{regular("f", "hello\n")}, 120, "1c37d01af40be2e80691de3cc3df44377a699afbb17c68f080964b2fd071fc13", src, "lrlri849zm76f3ppdppgwryapm3h5qac-nixpkgs-src"},
		{"lone program", []member{program("f", "hello\n")}, 152, "65436039d3f93ca19a8dbf1c60b15739ed58f53f14b8d372acc1b351533010fa", src, "alwvdpz50lk76a1r1iin53791iv5lnwa-nixpkgs-src"},
		{"lone symlink", []member{symlink("l", "a")}, 120, "b2d471a08d30662f14c0ae1e718b16f9fc1f38de425f47cca0437e9e93bc1f24", src, "i31gmw6wd47yc77r14fxck7vdrw5zmgj-nixpkgs-src"},
		{"lone empty directory", []member{dir("top/")}, 96, "a50a5ab6d992f5598edd92105059fae9acfc192981e08bd88534c2167e92526a", src, "957vw4b8va9yvj00nsfx3xpy5xjna6ja-nixpkgs-src"},
		{"lone file with one byte", []member{regular("single", "1")}, 120, "0ph7sg2v42irqnrdjhx1niyspaaaw3b88hb2kbl667a835yflg9k", src, ""},
		{"implied directories", []member{regular("top/sub/x", "1")}, 456, "0wb0lbfl32b8qdvr55g4cl1rz09rnrsscz4h71alwd0gdhzqinq6", src, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := read(t, zip(t, tarOf(t, tt.members...)))
			want, err := nix.ParseHash(tt.hash)
			if err != nil {
				t.Fatal(err)
			}
			if tree.NarHash != want || tree.NarSize != tt.size {
				t.Errorf("NAR is %v (%d bytes), want %v (%d bytes)", tree.NarHash, tree.NarSize, want, tt.size)
			}
			path, err := tree.StorePath(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			if tt.path != "" && path.Base() != tt.path {
				t.Errorf("store path is %s, want %s", path.Base(), tt.path)
			}
			h := sha256.New()
			if err := tree.WriteNAR(h); err != nil {
				t.Fatal(err)
			}
			if got := nix.Hash(h.Sum(nil)); got != want {
				t.Errorf("WriteNAR writes a NAR with hash %v, want %v", got, want)
			}
		})
	}
}

func TestComment(t *testing.T) {
	if got, want := read(t, zip(t, tarOf(t, orders...))).Comment, "0123456789abcdef0123456789abcdef01234567"; got != want {
		t.Errorf("Comment = %q, want %q", got, want)
	}
}

func TestFiles(t *testing.T) {
	if got := read(t, zip(t, tarOf(t, orders...))).Files; got != 8 {
		t.Errorf("Files = %d, want 8", got)
	}
}

// Hard links may come before what they lead to, which not every Nix accepts.
func TestForwardHardLinks(t *testing.T) {
	forward := []member{dir("t/"), hardlink("t/a", "t/b"), hardlink("t/b", "t/c"), hardlink("t/s", "t/l"), hardlink("t/d", "t/a"), program("t/c", "x"), symlink("t/l", "y")}
	want := []member{program("t/a", "x"), program("t/b", "x"), program("t/c", "x"), program("t/d", "x"), symlink("t/l", "y"), symlink("t/s", "y")}
	if got, want := read(t, zip(t, tarOf(t, forward...))), read(t, zip(t, tarOf(t, want...))); got.NarHash != want.NarHash || got.TreeID != want.TreeID {
		t.Errorf("NAR hash is %v and tree id %s, want %v and %s", got.NarHash, got.TreeID, want.NarHash, want.TreeID)
	}
}

// Every proper prefix of an archive is an error: nothing is ever taken for complete that was cut off.
func TestTruncated(t *testing.T) {
	tmp := t.TempDir()
	plain := tarOf(t, orders...)
	for i := range len(plain) {
		if i%512 > 1 && i%512 < 511 && i%97 > 0 {
			continue
		}
		if _, err := Read(t.Context(), bytes.NewReader(zip(t, plain[:i])), Options{Name: "cut.tar.gz", Dir: tmp}); err == nil {
			t.Errorf("%d of %d bytes of the tar stream are accepted", i, len(plain))
		}
	}
	zipped := zip(t, plain)
	for i := range zipped {
		_, err := Read(t.Context(), bytes.NewReader(zipped[:i]), Options{Name: "cut.tar.gz", Dir: tmp})
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "cut.tar.gz: ") {
			t.Errorf("%d of %d bytes: error is %v, want one that says truncated", i, len(zipped), err)
		}
	}
}

// A changed byte is an error, or the tree is the same: some bits of the gzip format do not count.
func TestDamaged(t *testing.T) {
	zipped := zip(t, tarOf(t, orders...))
	want := read(t, zipped).NarHash
	tmp, accepted := t.TempDir(), 0
	for i := range zipped {
		damaged := bytes.Clone(zipped)
		damaged[i] ^= 0x10
		tree, err := Read(t.Context(), bytes.NewReader(damaged), Options{Name: "bad.tar.gz", Dir: tmp})
		if err != nil {
			continue
		}
		accepted++
		if tree.NarHash != want {
			t.Errorf("with byte %d changed, NAR hash is %v, want an error", i, tree.NarHash)
		}
		tree.Close()
	}
	if accepted > 20 {
		t.Errorf("%d of %d damaged archives are accepted", accepted, len(zipped))
	}
}

// Neither success nor failure leaves a file behind.
func TestNothingLeft(t *testing.T) {
	for _, members := range [][]member{orders, {regular("../x", "")}} {
		tmp := t.TempDir()
		tree, err := Read(t.Context(), bytes.NewReader(zip(t, tarOf(t, members...))), Options{Dir: tmp})
		entries, dirErr := os.ReadDir(tmp)
		if dirErr != nil || len(entries) > 0 {
			t.Errorf("after Read (%v): folder holds %v, %v", err, entries, dirErr)
		}
		if err == nil {
			tree.Close()
		}
	}
}

func TestNoFolder(t *testing.T) {
	_, err := Read(t.Context(), bytes.NewReader(zip(t, tarOf(t, orders...))), Options{Name: "x.tar.gz", Dir: "/nonexistent"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want one about the missing folder", err)
	}
}

// endless is an archive that never ends. It calls later once it has been read for a while.
type endless struct {
	head, body *bytes.Reader
	later      func()
}

func newEndless(t *testing.T, later func()) *endless {
	t.Helper()
	var hdr bytes.Buffer
	if err := tar.NewWriter(&hdr).WriteHeader(&tar.Header{Name: "t/huge", Size: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	return &endless{bytes.NewReader(zip(t, hdr.Bytes())), bytes.NewReader(zip(t, make([]byte, 1<<20))), later}
}

func (e *endless) Read(p []byte) (int, error) {
	if n, _ := e.head.Read(p); n > 0 {
		return n, nil
	}
	if e.body.Len() == 0 {
		e.later()
		e.body.Seek(0, io.SeekStart)
	}
	return e.body.Read(p)
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopped by the user")
	limits := Limits{Archive: 1 << 50, Unpacked: 1 << 50}
	_, err := Read(ctx, newEndless(t, func() { cancel(cause) }), Options{Name: "endless", Dir: t.TempDir(), Limits: limits})
	if !errors.Is(err, cause) {
		t.Errorf("error is %v, want %v", err, cause)
	}
}
