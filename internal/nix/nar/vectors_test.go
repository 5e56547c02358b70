package nar

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

var (
	script  = []any{"(", "type", "regular", "executable", "", "contents", "#!/bin/sh\necho hi\n", ")"}
	treeA   = dir(entry("a", file("hello\n")), entry("emptydir", dir()), entry("link", link("a")), entry("run.sh", script), entry("sub", dir(entry("one", file("x")))))
	gitTree = dir(
		entry("foo", dir(entry("x", file("1")))), entry("foo-1", file("2")), entry("foo.nix", file("3")), entry("foo0", file("4")),
		entry("lnk", link("foo/x")), entry("sub", dir()),
		entry("x.sh", []any{"(", "type", "regular", "executable", "", "contents", "#!/bin/sh\n", ")"}))
)

var treeAItems = []item{
	{Entry{Path: "", Kind: Directory}, ""},
	{Entry{Path: "a", Kind: Regular, Size: 6}, "hello\n"},
	{Entry{Path: "emptydir", Kind: Directory}, ""},
	{Entry{Path: "link", Kind: Symlink, Target: "a"}, ""},
	{Entry{Path: "run.sh", Kind: Regular, Executable: true, Size: 18}, "#!/bin/sh\necho hi\n"},
	{Entry{Path: "sub", Kind: Directory}, ""},
	{Entry{Path: "sub/one", Kind: Regular, Size: 1}, "x"},
}

// vectors are trees with the size and the SHA-256 that Nix gives their archives.
var vectors = []struct {
	name string
	root []any
	size int
	hash string
}{
	{"empty file", file(""), 112, "77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e246"},
	{"file", file("hello\n"), 120, "1c37d01af40be2e80691de3cc3df44377a699afbb17c68f080964b2fd071fc13"},
	{"executable", []any{"(", "type", "regular", "executable", "", "contents", "hello\n", ")"}, 152, "65436039d3f93ca19a8dbf1c60b15739ed58f53f14b8d372acc1b351533010fa"},
	{"link", link("a"), 120, "b2d471a08d30662f14c0ae1e718b16f9fc1f38de425f47cca0437e9e93bc1f24"},
	{"empty directory", dir(), 96, "a50a5ab6d992f5598edd92105059fae9acfc192981e08bd88534c2167e92526a"},
	{"tree", treeA, 1248, "03283c4767a122a35a36e1fb6920621d3bdc7d4a020ffc4c83d0373a10cf0ec6"},
	{"tree from git archive", gitTree, 1624, "c40a35c549fabe93fe9edffe607a55a8a904456430dd85d5abe479e6dc87cdbb"},
}

func hexHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			data := archive(v.root)
			if len(data) != v.size || hexHash(data) != v.hash {
				t.Fatalf("the archive in this test has %d bytes and hash %s, want %d and %s", len(data), hexHash(data), v.size, v.hash)
			}
			items, err := readAll(bytes.NewReader(data), int64(v.size))
			if err != nil {
				t.Fatal(err)
			}
			got, err := writeAll(items)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("written again:\n%s\nwant\n%s", hex.Dump(got), hex.Dump(data))
			}
		})
	}
}

func TestBytes(t *testing.T) {
	want := "0d00000000000000" + "6e69782d61726368" + "6976652d31000000" + "0100000000000000" +
		"2800000000000000" + "0400000000000000" + "7479706500000000" + "0700000000000000" +
		"726567756c617200" + "0800000000000000" + "636f6e74656e7473" + "0600000000000000" +
		"68656c6c6f0a0000" + "0100000000000000" + "2900000000000000"
	got, err := writeAll([]item{{Entry{Kind: Regular, Size: 6}, "hello\n"}})
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("archive is %x, %v, want %s", got, err, want)
	}
}

func TestReader(t *testing.T) {
	data := archive(treeA)
	sources := map[string]func() io.Reader{
		"at once":          func() io.Reader { return bytes.NewReader(data) },
		"byte by byte":     func() io.Reader { return iotest.OneByteReader(bytes.NewReader(data)) },
		"half of it":       func() io.Reader { return iotest.HalfReader(bytes.NewReader(data)) },
		"EOF with the end": func() io.Reader { return iotest.DataErrReader(bytes.NewReader(data)) },
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(source(), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(treeAItems, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			r, err := lastError(source(), unlimited)
			if err != io.EOF {
				t.Errorf("when contents are skipped: %v, want %v", err, io.EOF)
			}
			checkSticky(t, r, io.EOF)
		})
	}
}

// TestReaderOffsets compares where contents begin with what "nix nar ls" says.
func TestReaderOffsets(t *testing.T) {
	r := NewReader(bytes.NewReader(archive(treeA)), 1248)
	got := map[string]int64{}
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == Regular {
			got[e.Path] = r.pos
		}
	}
	if diff := cmp.Diff(map[string]int64{"a": 232, "run.sh": 816, "sub/one": 1160}, got); diff != "" {
		t.Errorf("offsets (-want +got):\n%s", diff)
	}
}

// TestLegal holds unusual trees that Nix accepts.
func TestLegal(t *testing.T) {
	name255, target4095 := strings.Repeat("n", 255), strings.Repeat("t", 4095)
	for name, root := range map[string][]any{
		"bytes that are no UTF-8":            dir(entry("a\xff\xfe", file(""))),
		"newline, space, backslash":          dir(entry("a\nb", file("")), entry("a b", file("")), entry("a\\..\\b", file(""))),
		"dots":                               dir(entry("...", file("")), entry("..a", file(""))),
		"sorted as bytes":                    dir(entry("B", file("")), entry("a", file("")), entry("é", file("")), entry("\xff", file(""))),
		"names that differ by normalisation": dir(entry("e\u0301", link("/")), entry("\u00e9", dir(entry("x", file(""))))),
		"names that differ by case":          dir(entry("Test", file("")), entry("Test~nix~case~hack~1", link("/")), entry("test", dir())),
		"name of 255 bytes":                  dir(entry(name255, file(""))),
		"target of 4095 bytes":               link(target4095),
		"absolute target":                    link("/etc/passwd"),
		"target that leads out":              dir(entry("a", link("../../.."))),
		"64 nodes deep":                      nested(64),
		"whiteout of image layers":           dir(entry(".wh.a", file(""))),
		"contents like an archive":           file(string(archive(treeA))),
		"contents beyond a buffer":           dir(entry("a", file(strings.Repeat("0123456789", 30_000))), entry("b", file("x"))),
	} {
		t.Run(name, func(t *testing.T) {
			data := archive(root)
			items, err := readAll(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := writeAll(items); err != nil || !bytes.Equal(got, data) {
				t.Errorf("not written as it was read: %v", err)
			}
		})
	}
}

func TestReaderPartsOfContents(t *testing.T) {
	contents := strings.Repeat("0123456789", 40_000)
	data := archive(dir(entry("a", file(contents)), entry("b", file("x")), entry("c", link("a"))))
	r := NewReader(bytes.NewReader(data), int64(len(data)))
	next := func(want string) {
		t.Helper()
		if e, err := r.Next(); err != nil || e.Path != want {
			t.Fatalf("Next = %v, %v, want %q", e, err, want)
		}
	}
	next("")
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("Read of a directory = %d, %v, want EOF", n, err)
	}
	next("a")
	// small, empty and large reads in turn, then the rest through WriteTo
	var got bytes.Buffer
	for _, size := range []int{1, 0, 7, 100_000, 3, 200_000} {
		p := make([]byte, size)
		n, err := io.ReadFull(r, p)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(p[:n])
	}
	if _, err := r.WriteTo(&got); err != nil || got.String() != contents {
		t.Errorf("contents differ: %d bytes, %v", got.Len(), err)
	}
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("Read behind the contents = %d, %v, want EOF", n, err)
	}
	next("b")
	next("c")
	if n, err := r.WriteTo(&got); n != 0 || err != nil {
		t.Errorf("WriteTo of a link = %d, %v", n, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("Next at the end = %v, want EOF", err)
	}
}

type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		n := f.room
		f.room = 0
		return n, io.ErrShortBuffer
	}
	f.room -= len(p)
	return len(p), nil
}

func TestReaderWriteToError(t *testing.T) {
	data := archive(dir(entry("a", file("hello\n")), entry("b", file("x"))))
	r := NewReader(bytes.NewReader(data), int64(len(data)))
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.WriteTo(&full{2}); n != 2 || err != io.ErrShortBuffer {
		t.Errorf("WriteTo = %d, %v, want 2, %v", n, err, io.ErrShortBuffer)
	}
	// what was not written can still be read
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "llo\n" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	if e, err := r.Next(); err != nil || e.Path != "b" {
		t.Errorf("Next = %v, %v, want b", e, err)
	}
}
