package nar

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
)

// benchTree has about as many files, and files as large, as a mid-sized package.
func benchTree(folders, files, size int) []item {
	contents := string(bytes.Repeat([]byte{'x'}, size))
	items := []item{{Entry: Entry{Kind: Directory}}}
	for i := range folders {
		folder := fmt.Sprintf("folder-%04d", i)
		items = append(items, item{Entry: Entry{Path: folder, Kind: Directory}})
		for j := range files {
			items = append(items, item{Entry{Path: fmt.Sprintf("%s/file-%04d.nix", folder, j), Kind: Regular, Size: int64(size)}, contents})
		}
	}
	return items
}

var benchTrees = []struct {
	name  string
	items []item
}{
	{"12000 files of 1 kB", benchTree(400, 30, 1000)},
	{"60 files of 1 MB", benchTree(2, 30, 1_000_000)},
}

func BenchmarkReader(b *testing.B) {
	for _, bench := range benchTrees {
		data, err := writeAll(bench.items)
		if err != nil {
			b.Fatal(err)
		}
		read := func(name string, use func(*Reader) error) {
			b.Run(bench.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					r := NewReader(bytes.NewReader(data), int64(len(data)))
					for {
						_, err := r.Next()
						if err == io.EOF {
							break
						}
						if err == nil {
							err = use(r)
						}
						if err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
		buf := make([]byte, 32<<10)
		hash := sha256.New()
		read("skip", func(*Reader) error { return nil })
		read("copy", func(r *Reader) error { _, err := io.Copy(io.Discard, r); return err })
		read("read", func(r *Reader) error {
			for {
				if _, err := r.Read(buf); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
		read("sha256", func(r *Reader) error { _, err := r.WriteTo(hash); return err })
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, bench := range benchTrees {
		b.Run(bench.name, func(b *testing.B) {
			data, err := writeAll(bench.items)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			contents := make([]byte, 1_000_000)
			for b.Loop() {
				w := NewWriter(io.Discard)
				for _, it := range bench.items {
					if err := w.WriteEntry(it.Entry); err != nil {
						b.Fatal(err)
					}
					if _, err := w.Write(contents[:it.Size]); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
