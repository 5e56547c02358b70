package nar

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestWriterRejects(t *testing.T) {
	root := Entry{Kind: Directory}
	a, b, d := Entry{Path: "a", Kind: Regular}, Entry{Path: "b", Kind: Regular}, Entry{Path: "d", Kind: Directory}
	deep := []Entry{root}
	for i := range 64 {
		deep = append(deep, Entry{Path: strings.Repeat("d/", i) + "d", Kind: Directory})
	}
	tests := []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"nothing", nil, "no entry"},
		{"root missing", []Entry{a}, "the first entry is not the root"},
		{"root twice", []Entry{root, root}, "a second root"},
		{"entry below a file", []Entry{{Kind: Regular}, a}, "no directory"},
		{"entry below a link", []Entry{root, {Path: "a", Kind: Symlink, Target: "/"}, {Path: "a/b", Kind: Regular}}, "no directory"},
		{"directory missing", []Entry{root, {Path: "d/a", Kind: Regular}}, `no directory "d" is open`},
		{"directory closed", []Entry{root, d, {Path: "e", Kind: Directory}, {Path: "d/a", Kind: Regular}}, `no directory "d" is open`},
		{"unsorted", []Entry{root, b, a}, `"a" after "b"`},
		{"order of git", []Entry{root, {Path: "foo-1", Kind: Regular}, {Path: "foo", Kind: Directory}}, `"foo" after "foo-1"`},
		{"duplicate", []Entry{root, a, a}, `a second "a"`},
		{"duplicate directory", []Entry{root, d, {Path: "d/a", Kind: Regular}, d}, `a second "d"`},
		{"absolute", []Entry{root, {Path: "/a", Kind: Regular}}, "absolute path"},
		{"absolute directory", []Entry{root, {Path: "/", Kind: Directory}}, "bad name"},
		{"dot", []Entry{root, {Path: ".", Kind: Regular}}, `bad name "."`},
		{"dot dot", []Entry{root, {Path: "..", Kind: Regular}}, `bad name ".."`},
		{"dot dot below", []Entry{root, d, {Path: "d/..", Kind: Regular}}, `bad name ".."`},
		{"slash behind", []Entry{root, {Path: "d/", Kind: Directory}}, `no directory "d" is open`},
		{"NUL", []Entry{root, {Path: "a\x00", Kind: Regular}}, "bad name"},
		{"name of 256 bytes", []Entry{root, {Path: strings.Repeat("n", 256), Kind: Regular}}, "name of 256 bytes"},
		{"65 nodes deep", deep, "deeper than 64 nodes"},
		{"negative size", []Entry{{Kind: Regular, Size: -1}}, "size -1"},
		{"empty target", []Entry{{Kind: Symlink}}, "link without a target"},
		{"target with NUL", []Entry{{Kind: Symlink, Target: "a\x00"}}, "NUL"},
		{"target of 4096 bytes", []Entry{{Kind: Symlink, Target: strings.Repeat("t", 4096)}}, "target of 4096 bytes"},
		{"unknown kind", []Entry{{Kind: 7}}, "unknown type Kind(7)"},
		{"contents missing", []Entry{{Kind: Regular, Size: 3}}, "3 bytes too few"},
		{"contents missing before another", []Entry{root, {Path: "a", Kind: Regular, Size: 3}, b}, `nar: "a": 3 bytes too few`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := NewWriter(io.Discard)
			var err error
			for _, e := range test.entries {
				if err = w.WriteEntry(e); err != nil {
					break
				}
			}
			if err == nil {
				err = w.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want one with %q", err, test.want)
			}
			checkWriterSticky(t, w, err)
		})
	}
}

func checkWriterSticky(t *testing.T, w *Writer, err error) {
	t.Helper()
	if again := w.WriteEntry(Entry{Path: "z", Kind: Directory}); again != err {
		t.Errorf("a further WriteEntry returns %v, want %v", again, err)
	}
	if _, again := w.Write(nil); again != err {
		t.Errorf("a further Write returns %v, want %v", again, err)
	}
	if _, again := w.ReadFrom(strings.NewReader("")); again != err {
		t.Errorf("a further ReadFrom returns %v, want %v", again, err)
	}
	if again := w.Close(); again != err {
		t.Errorf("Close returns %v, want %v", again, err)
	}
}

func TestWriterContents(t *testing.T) {
	tests := []struct {
		name  string
		write func(w *Writer) error
		want  string
	}{
		{"in parts", func(w *Writer) error {
			if _, err := io.WriteString(w, "hel"); err != nil {
				return err
			}
			_, err := w.ReadFrom(strings.NewReader("lo\n"))
			return err
		}, ""},
		{"too long", func(w *Writer) error { _, err := io.WriteString(w, "hello\n!"); return err }, "1 bytes too many"},
		{"too long from a reader", func(w *Writer) error {
			_, err := w.ReadFrom(strings.NewReader("hello\n!"))
			return err
		}, "contents longer than announced"},
		{"reader that fails", func(w *Writer) error { _, err := w.ReadFrom(failing{io.ErrClosedPipe}); return err }, "closed pipe"},
		{"too short", func(w *Writer) error { _, err := io.WriteString(w, "hello"); return err }, "1 bytes too few"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			w := NewWriter(&b)
			err := w.WriteEntry(Entry{Kind: Regular, Size: 6})
			if err == nil {
				err = test.write(w)
			}
			if err == nil {
				err = w.Close()
			}
			switch {
			case test.want == "" && (err != nil || !bytes.Equal(b.Bytes(), archive(file("hello\n")))):
				t.Errorf("archive is %x, %v", b.Bytes(), err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error is %v, want one with %q", err, test.want)
			case test.want != "":
				checkWriterSticky(t, w, err)
			}
		})
	}
}

func TestWriterClosed(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.WriteEntry(Entry{Kind: Directory}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := w.WriteEntry(Entry{Path: "a", Kind: Directory}); err == nil {
		t.Error("an entry was accepted after Close")
	}
}

// TestWriterFullDisk lets the destination fail after every number of bytes.
func TestWriterFullDisk(t *testing.T) {
	data := archive(treeA)
	for room := range data {
		w := NewWriter(&full{room})
		var err error
		for _, it := range treeAItems {
			if err = w.WriteEntry(it.Entry); err != nil {
				break
			}
			if _, err = io.WriteString(w, it.Contents); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			t.Fatalf("no error with room for %d of %d bytes", room, len(data))
		}
	}
}

// TestOrder gives the writer paths sorted with "/" as the lowest byte, which is the order of archives.
func TestOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "a-1", "a.b", "a0", "aa", "B", "\xff", " ", "!"}
	folders := []string{""}
	paths := map[string]Kind{}
	for len(paths) < 200 {
		path := folders[random.IntN(len(folders))] + names[random.IntN(len(names))]
		if _, ok := paths[path]; ok {
			continue
		}
		paths[path] = Kind(random.IntN(2))
		if paths[path] == Directory {
			folders = append(folders, path+"/")
		}
	}
	var sorted []string
	for path := range paths {
		sorted = append(sorted, path)
	}
	slices.SortFunc(sorted, func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
	items := []item{{Entry: Entry{Kind: Directory}}}
	for _, path := range sorted {
		items = append(items, item{Entry: Entry{Path: path, Kind: paths[path]}})
	}
	data, err := writeAll(items)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(bytes.NewReader(data), int64(len(data)))
	if err != nil || !slices.Equal(got, items) {
		t.Errorf("the tree is not read as it was written: %v", err)
	}
}
