package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// visited is an entry with what its content reader gave.
type visited struct {
	nar.Entry
	Content string
}

func walk(t *testing.T, tree *Tree) []visited {
	t.Helper()
	var got []visited
	err := tree.Walk(func(e nar.Entry, content io.Reader) error {
		if (content != nil) != (e.Kind == nar.Regular) {
			t.Errorf("%q: content is %v", e.Path, content)
		}
		v := visited{Entry: e}
		if content != nil {
			data, err := io.ReadAll(iotest.OneByteReader(content))
			if err != nil {
				return err
			}
			v.Content = string(data)
		}
		got = append(got, v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWalk(t *testing.T) {
	want := []visited{
		{nar.Entry{Path: "", Kind: nar.Directory}, ""},
		{nar.Entry{Path: "foo", Kind: nar.Directory}, ""},
		{nar.Entry{Path: "foo/x", Kind: nar.Regular, Size: 1}, "1"},
		{nar.Entry{Path: "foo-1", Kind: nar.Regular, Size: 1}, "2"},
		{nar.Entry{Path: "foo.nix", Kind: nar.Regular, Size: 1}, "3"},
		{nar.Entry{Path: "foo0", Kind: nar.Regular, Size: 1}, "4"},
		{nar.Entry{Path: "lnk", Kind: nar.Symlink, Target: "foo/x"}, ""},
		{nar.Entry{Path: "sub", Kind: nar.Directory}, ""},
		{nar.Entry{Path: "x.sh", Kind: nar.Regular, Executable: true, Size: 10}, "#!/bin/sh\n"},
	}
	if diff := cmp.Diff(want, walk(t, read(t, zip(t, tarOf(t, orders...))))); diff != "" {
		t.Error(diff)
	}
}

// Whatever the order of an archive and the sizes of its files, every file has its own contents.
func TestWalkContents(t *testing.T) {
	content := func(i int) string { return strings.Repeat(fmt.Sprintf("%d,", i), i*i*i%50_000) }
	var members []member
	var want []visited
	for i := range 120 {
		name := fmt.Sprintf("%03d", i*77%120)
		members = append(members, regular("t/"+name, content(i)))
		want = append(want, visited{nar.Entry{Path: name, Kind: nar.Regular, Size: int64(len(content(i)))}, content(i)})
	}
	slices.SortFunc(want, func(a, b visited) int { return strings.Compare(a.Path, b.Path) })
	want = append([]visited{{Entry: nar.Entry{Kind: nar.Directory}}}, want...)
	if diff := cmp.Diff(want, walk(t, read(t, zip(t, tarOf(t, members...))))); diff != "" {
		t.Error(diff)
	}
}

func TestWalkEndsWithError(t *testing.T) {
	stop := errors.New("enough")
	n := 0
	err := read(t, zip(t, tarOf(t, orders...))).Walk(func(nar.Entry, io.Reader) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if err != stop || n != 3 {
		t.Errorf("Walk = %v after %d entries, want %v after 3", err, n, stop)
	}
}

func TestConcurrentUse(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", allKinds)...)))
	var want bytes.Buffer
	if err := tree.WriteNAR(&want); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var got bytes.Buffer
			if err := tree.WriteNAR(&got); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("WriteNAR beside others: error %v, %d bytes, want %d", err, got.Len(), want.Len())
			}
			if data, err := tree.ReadFile("a", 10); err != nil || string(data) != "hello\n" {
				t.Errorf("ReadFile beside others = %q, %v", data, err)
			}
		})
	}
	wg.Wait()
}

func TestReadFile(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, below("t", allKinds)...)))
	tests := []struct {
		path string
		max  int64
		data string
		err  string
	}{
		{"a", 6, "hello\n", ""},
		{"sub/one", 1, "x", ""},
		{"a", 5, "", `"a" has 6 bytes, more than 5`},
		{"link", 10, "", `"link" is a symbolic link`},
		{"emptydir", 10, "", `"emptydir" is a directory`},
		{"nothing", 10, "", `"nothing": file does not exist`},
		{"a/b", 10, "", `"a/b": file does not exist`},
		{"", 10, "", `"": file does not exist`},
	}
	for _, tt := range tests {
		data, err := tree.ReadFile(tt.path, tt.max)
		if string(data) != tt.data || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("ReadFile(%q, %d) = %q, %v, want %q, %s", tt.path, tt.max, data, err, tt.data, tt.err)
		}
	}
	if _, err := tree.ReadFile("nothing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error of a missing file is %v, want one that wraps fs.ErrNotExist", err)
	}
}

func TestClosed(t *testing.T) {
	tree := read(t, zip(t, tarOf(t, orders...)))
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteNAR(io.Discard); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("WriteNAR after Close: error is %v, want %v", err, fs.ErrClosed)
	}
}
