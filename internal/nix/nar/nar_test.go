package nar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// raw is a piece of an archive that is not a well-formed string.
type raw string

// length is the length of a string, alone.
func length(n uint64) raw { return raw(binary.LittleEndian.AppendUint64(nil, n)) }

// encode writes strings as archives hold them, and raw pieces as they are.
func encode(parts ...any) []byte {
	var b bytes.Buffer
	for _, part := range parts {
		switch part := part.(type) {
		case raw:
			b.WriteString(string(part))
		case string:
			b.WriteString(string(length(uint64(len(part)))) + part)
			b.Write(make([]byte, (8-len(part)%8)%8))
		case []any:
			b.Write(encode(part...))
		}
	}
	return b.Bytes()
}

// archive encodes a whole archive with the given root.
func archive(root []any) []byte { return encode(magic, root) }

func file(contents string) []any { return []any{"(", "type", "regular", "contents", contents, ")"} }
func link(target string) []any   { return []any{"(", "type", "symlink", "target", target, ")"} }
func dir(entries ...[]any) []any { return node("directory", entries...) }
func entry(name string, n []any) []any {
	return []any{"entry", "(", "name", name, "node", n, ")"}
}

func node(kind string, parts ...[]any) []any {
	n := []any{"(", "type", kind}
	for _, part := range parts {
		n = append(n, part)
	}
	return append(n, ")")
}

// nested returns a chain of so many nodes, of which the last is a file.
func nested(nodes int) []any {
	n := file("")
	for range nodes - 1 {
		n = dir(entry("d", n))
	}
	return n
}

// unlimited hides the size of an archive from the reader.
const unlimited = -1

// item is an entry with its contents.
type item struct {
	Entry
	Contents string
}

func readAll(src io.Reader, size int64) ([]item, error) {
	r := NewReader(src, size)
	var items []item
	for {
		e, err := r.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		contents, err := io.ReadAll(r)
		if err != nil {
			return items, err
		}
		items = append(items, item{e, string(contents)})
	}
}

func writeAll(items []item) ([]byte, error) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, it := range items {
		if err := w.WriteEntry(it.Entry); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, it.Contents); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// checkSticky reports an error if r forgets its error.
func checkSticky(t *testing.T, r *Reader, err error) {
	t.Helper()
	if _, again := r.Next(); again != err {
		t.Errorf("a further Next returns %v, want %v", again, err)
	}
	if _, again := r.Read(make([]byte, 1)); again != err {
		t.Errorf("a further Read returns %v, want %v", again, err)
	}
	if _, again := r.WriteTo(io.Discard); again != err && err != io.EOF {
		t.Errorf("a further WriteTo returns %v, want %v", again, err)
	}
}

// lastError reads an archive without its contents and returns the reader with its last error.
func lastError(src io.Reader, size int64) (*Reader, error) {
	r := NewReader(src, size)
	for {
		if _, err := r.Next(); err != nil {
			return r, err
		}
	}
}

// hostile lists archives that must be refused, with a part of the error.
func hostile() []struct {
	name string
	data []byte
	want string
} {
	a := file("x")
	long := strings.Repeat("n", 256)
	return []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "EOF"},
		{"other magic", encode("nix-archive-2", a), `want "nix-archive-1", found "nix-archive-2"`},
		{"magic missing", encode(a), `want "nix-archive-1"`},
		{"magic twice", encode(magic, magic, a), `want "("`},
		{"magic alone", encode(magic), "EOF"},

		{"name dot", archive(dir(entry(".", a))), `bad name "."`},
		{"name dot dot", archive(dir(entry("..", a))), `bad name ".."`},
		{"name with a slash", archive(dir(entry("x/y", a))), `bad name "x/y"`},
		{"name that is a slash", archive(dir(entry("/", a))), `bad name "/"`},
		{"name empty", archive(dir(entry("", a))), `bad name ""`},
		{"name with NUL", archive(dir(entry("a\x00b", a))), `bad name "a\x00b"`},
		{"name of 256 bytes", archive(dir(entry(long, a))), "string of 256 bytes (at most 255)"},
		{"name without end", archive(dir([]any{"entry", "(", "name", length(1 << 62)})), "at most 255"},
		{"name padded with ones", archive(dir([]any{"entry", "(", "name", length(1), raw("a\x00\x00\x00\x00\x00\x00\x01"), "node", a, ")"})), "padding"},
		{"name after the node", archive(dir([]any{"entry", "(", "node", a, "name", "a", ")"})), `want "name", found "node"`},
		{"name twice", archive(dir([]any{"entry", "(", "name", "a", "name", "b", "node", a, ")"})), `want "node", found "name"`},

		{"duplicate", archive(dir(entry("a", link("/")), entry("a", dir(entry("b", a))))), `a second "a"`},
		{"duplicate file", archive(dir(entry("a", a), entry("a", a))), `a second "a"`},
		{"unsorted", archive(dir(entry("b", a), entry("a", a))), `"a" after "b"`},
		{"unsorted below", archive(dir(entry("d", dir(entry("b", a), entry("a", a))))), `nar: "d": offset`},
		{"order of git", archive(dir(entry("foo-1", a), entry("foo", dir()))), `"foo" after "foo-1"`},

		{"entry without node", archive(dir([]any{"entry", "(", "name", "a", ")"})), `want "node", found ")"`},
		{"entry without name", archive(dir([]any{"entry", "(", "node", a, ")"})), `want "name"`},
		{"entry empty", archive(dir([]any{"entry", "(", ")"})), `want "name"`},
		{"entry not closed", archive(dir([]any{"entry", "(", "name", "a", "node", a})), "EOF"},
		{"entry with two nodes", archive(dir([]any{"entry", "(", "name", "a", "node", a, "node", a, ")"})), `want ")", found "node"`},
		{"unknown word in a directory", archive(dir([]any{"color"})), `want "entry" or ")", found "color"`},

		{"executable after contents", archive([]any{"(", "type", "regular", "contents", "x", "executable", "", ")"}), `want ")", found "executable"`},
		{"executable twice", archive([]any{"(", "type", "regular", "executable", "", "executable", "", "contents", "x", ")"}), `want "contents", found "executable"`},
		{"executable with a value", archive([]any{"(", "type", "regular", "executable", "x", "contents", "x", ")"}), `want "", found "x"`},
		{"executable directory", archive([]any{"(", "type", "directory", "executable", "", ")"}), `found "executable"`},
		{"contents twice", archive([]any{"(", "type", "regular", "contents", "x", "contents", "y", ")"}), `want ")", found "contents"`},
		{"file without contents", archive([]any{"(", "type", "regular", ")"}), `want "executable" or "contents", found ")"`},
		{"other tag instead of contents", archive([]any{"(", "type", "regular", "content", "x", ")"}), `found "content"`},
		{"contents before the type", archive([]any{"(", "contents", "x", "type", "regular", ")"}), `want "type"`},
		{"file not closed", archive([]any{"(", "type", "regular", "contents", "x", "entry"}), `want ")"`},
		{"contents padded with ones", archive([]any{"(", "type", "regular", "contents", length(1), raw("x\x00\x00\x00\x00\x00\x00\x01"), ")"}), "padding"},
		{"contents of 2^64-1 bytes", archive([]any{"(", "type", "regular", "contents", length(1<<64 - 1), raw("x"), ")"}), "string of 18446744073709551615 bytes"},
		{"contents of 2^63 bytes", archive([]any{"(", "type", "regular", "contents", length(1 << 63), raw("x"), ")"}), "string of 9223372036854775808 bytes"},
		{"padding cut off", archive([]any{"(", "type", "regular", "contents", length(1), raw("x\x00")}), ""},

		{"link without target", archive([]any{"(", "type", "symlink", ")"}), `want "target", found ")"`},
		{"link with contents", archive([]any{"(", "type", "symlink", "contents", "x", ")"}), `want "target"`},
		{"target twice", archive([]any{"(", "type", "symlink", "target", "x", "target", "y", ")"}), `want ")", found "target"`},
		{"target empty", archive(link("")), "link without a target"},
		{"target with NUL", archive(link("a\x00b")), "NUL in the target"},
		{"target of 4096 bytes", archive(link(strings.Repeat("t", 4096))), "string of 4096 bytes (at most 4095)"},
		{"target padded with ones", archive([]any{"(", "type", "symlink", "target", length(1), raw("x\x01\x00\x00\x00\x00\x00\x00"), ")"}), "padding"},

		{"unknown type", archive(node("fifo")), `unknown type "fifo"`},
		{"type empty", archive(node("")), `unknown type ""`},
		{"type twice", archive([]any{"(", "type", "directory", "type", "directory", ")"}), `found "type"`},
		{"type missing", archive([]any{"(", ")"}), `want "type"`},
		{"keyword of 33 bytes", archive([]any{"(", strings.Repeat("t", 33)}), "string of 33 bytes (at most 32)"},
		{"keyword padded with ones", archive([]any{length(1), raw("(\x00\x00\x00\x00\x00\x01\x00")}), "padding"},
		{"65 nodes deep", archive(nested(65)), "deeper than 64 nodes"},
		{"a thousand nodes deep", archive([]any{raw(bytes.Repeat(encode("(", "type", "directory", "entry", "(", "name", "d", "node"), 1_000))}), "deeper than 64 nodes"},

		{"bytes behind the end", encode(magic, a, raw("\x00")), "bytes behind the end"},
		{"two archives", append(archive(a), archive(a)...), "bytes behind the end"},
	}
}

func TestReaderRejects(t *testing.T) {
	for _, test := range hostile() {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int64{unlimited, int64(len(test.data))} {
				if _, err := readAll(bytes.NewReader(test.data), size); err == nil {
					t.Fatalf("with size %d: accepted", size)
				}
				r, err := lastError(bytes.NewReader(test.data), size)
				if err == io.EOF {
					t.Fatalf("with size %d: accepted when contents are skipped", size)
				}
				if size == unlimited && !strings.Contains(err.Error(), test.want) {
					t.Errorf("error is %q, want one with %q", err, test.want)
				}
				checkSticky(t, r, err)
			}
		})
	}
}

func TestReaderSize(t *testing.T) {
	data := archive(dir(entry("a", file("hello\n")), entry("b", link("a"))))
	for _, test := range []struct {
		name string
		size int64
		want string
	}{
		{"zero", 0, "goes on beyond its 0 bytes"},
		{"one less", int64(len(data)) - 1, "goes on beyond its"},
		{"one more", int64(len(data)) + 1, "ends here"},
		{"in the contents", 235, "of which only"},
	} {
		r, err := lastError(bytes.NewReader(data), test.size)
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want one with %q", test.name, err, test.want)
		}
		checkSticky(t, r, err)
	}
}

// TestReaderTruncated cuts an archive off at every byte.
func TestReaderTruncated(t *testing.T) {
	data := archive(treeA)
	for n := range data {
		for _, size := range []int64{unlimited, int64(len(data))} {
			if _, err := readAll(bytes.NewReader(data[:n]), size); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("after %d bytes, with size %d: error is %v, want %v", n, size, err, io.ErrUnexpectedEOF)
			}
			if _, err := lastError(bytes.NewReader(data[:n]), size); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("after %d bytes, with size %d: skipping gives %v, want %v", n, size, err, io.ErrUnexpectedEOF)
			}
		}
	}
}

// TestReaderFlipped changes every bit of an archive in turn.
// What is still accepted must be another archive in its only form.
func TestReaderFlipped(t *testing.T) {
	data := archive(treeA)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if items, err := readAll(bytes.NewReader(data), int64(len(data))); err == nil {
				if again, err := writeAll(items); err != nil || !bytes.Equal(again, data) {
					t.Errorf("bit %d of byte %d: accepted, but written otherwise (%v)", bit, i, err)
				}
			}
			data[i] ^= 1 << bit
		}
	}
}

// TestReaderEndlessLength makes sure that a length is not believed before the bytes are there.
func TestReaderEndlessLength(t *testing.T) {
	data := archive([]any{"(", "type", "regular", "contents", length(1<<63 - 1)})
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := lastError(bytes.NewReader(data), unlimited); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error is %v, want %v", err, io.ErrUnexpectedEOF)
		}
	})
	if allocated > 50 {
		t.Errorf("%v allocations for a file that is not there", allocated)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReaderSourceError(t *testing.T) {
	data := archive(treeA)
	cause := errors.New("connection reset")
	for _, n := range []int{0, 100, len(data) - 1, len(data)} {
		src := io.MultiReader(bytes.NewReader(data[:n]), failing{cause})
		r, err := lastError(src, int64(len(data)))
		if !errors.Is(err, cause) {
			t.Errorf("after %d bytes: error is %v, want %v", n, err, cause)
		}
		checkSticky(t, r, err)
	}
	// A source that was itself cut off is not the end of the archive.
	_, err := lastError(io.MultiReader(bytes.NewReader(data), failing{io.ErrUnexpectedEOF}), int64(len(data)))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if _, err := lastError(failing{nil}, unlimited); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error is %v, want %v", err, io.ErrNoProgress)
	}
}
