package nar

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// FuzzReader checks that whatever is accepted is the one form of its tree,
// has only safe paths, and does not depend on how the bytes arrive.
func FuzzReader(f *testing.F) {
	for _, v := range vectors {
		f.Add(archive(v.root))
	}
	for _, h := range hostile() {
		if len(h.data) < 1<<10 {
			f.Add(h.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := readAll(bytes.NewReader(data), int64(len(data)))
		_, slow := readAll(iotest.OneByteReader(bytes.NewReader(data)), unlimited)
		_, skipping := lastError(bytes.NewReader(data), int64(len(data)))
		if (err == nil) != (slow == nil) || (err == nil) != (skipping == io.EOF) {
			t.Fatalf("at once: %v; byte by byte: %v; skipping contents: %v", err, slow, skipping)
		}
		if err != nil {
			return
		}
		for i, it := range items {
			if (it.Path == "") != (i == 0) || i > 0 && !filepath.IsLocal(it.Path) {
				t.Errorf("entry %d has the unsafe path %q", i, it.Path)
			}
		}
		again, err := writeAll(items)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("%x is written as %x", data, again)
		}
	})
}
