package layers

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

// sourceArchive is the file that SOURCE_FILE names, or one made for the purpose
// that is as large as nixpkgs.
var sourceArchive = sync.OnceValue(func() []byte {
	if name := os.Getenv("SOURCE_FILE"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		return data
	}
	var buf bytes.Buffer
	if err := sourcetest.Write(&buf, sourcetest.Options{}); err != nil {
		panic(err)
	}
	return buf.Bytes()
})

func readSource(b *testing.B) *source.Tree {
	b.Helper()
	tree, err := source.Read(b.Context(), bytes.NewReader(sourceArchive()), source.Options{Name: "archive", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

func sourceObjects(b *testing.B, tree *source.Tree) []nix.PathInfo {
	b.Helper()
	var objects []nix.PathInfo
	for _, name := range []string{"nixpkgs-src", "source"} {
		info, err := tree.PathInfo(name)
		if err != nil {
			b.Fatal(err)
		}
		objects = append(objects, info)
	}
	return objects
}

// processor returns the seconds of processor time that this process has taken.
func processor(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// measured runs step, and reports the processor time and bytes of one.
func measured(b *testing.B, step func() (size int64)) {
	b.Helper()
	before, size := processor(b), int64(0)
	for b.Loop() {
		size = step()
	}
	b.ReportMetric((processor(b)-before)/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(size), "bytes")
}

// BenchmarkSource goes from an archive of nixpkgs to its finished layer, which
// holds it under two names: what gzip -dc and pigz make of the same bytes.
func BenchmarkSource(b *testing.B) {
	sourceArchive()
	for _, encoding := range []Encoding{Gzip, Zstd} {
		b.Run(string(encoding), func(b *testing.B) {
			measured(b, func() int64 {
				tree := readSource(b)
				defer tree.Close()
				layer, err := Packer{Dir: b.TempDir(), Encoding: encoding}.Linked(b.Context(), tree, sourceObjects(b, tree))
				if err != nil {
					b.Fatal(err)
				}
				return layer.size
			})
		})
	}
}

// BenchmarkTar writes the tar archive of a source, without compressing it.
func BenchmarkTar(b *testing.B) {
	tree := readSource(b)
	defer tree.Close()
	b.SetBytes(tree.NarSize)
	measured(b, func() int64 {
		n := sink{w: io.Discard}
		writeSource(b, tree, &n)
		return n.n
	})
}

func writeSource(b *testing.B, tree *source.Tree, w io.Writer) {
	b.Helper()
	first, a := sourceObjects(b, tree)[0].Path, newArchive(w)
	if err := tree.Walk(func(e nar.Entry, content io.Reader) error { return a.object(first, e, content) }); err != nil {
		b.Fatal(err)
	}
	if err := a.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkObject makes a layer of a NAR of 64 MB.
func BenchmarkObject(b *testing.B) {
	big, bigNAR := packed(b, 1, "big", dir(""), file("text", compressible(64<<20)))
	for _, encoding := range []Encoding{Gzip, Zstd} {
		b.Run(string(encoding), func(b *testing.B) {
			b.SetBytes(int64(len(bigNAR)))
			measured(b, func() int64 {
				layer, err := Packer{Dir: b.TempDir(), Encoding: encoding}.Objects(b.Context(), memory{big.Path: {bigNAR}}, []nix.PathInfo{big}, nil)
				if err != nil {
					b.Fatal(err)
				}
				return layer.size
			})
		})
	}
}

// BenchmarkSmallLayers makes a layer of each of 48 NARs, as an image has them.
func BenchmarkSmallLayers(b *testing.B) {
	nars, objects := make(memory), make([]nix.PathInfo, 48)
	for i := range objects {
		object, nar := packed(b, i, "small", dir(""), file("text", compressible(i<<14)))
		objects[i], nars[object.Path] = object, [][]byte{nar}
	}
	for _, encoding := range []Encoding{Gzip, Zstd} {
		b.Run(string(encoding), func(b *testing.B) {
			b.ReportAllocs()
			measured(b, func() (size int64) {
				for _, object := range objects {
					layer, err := Packer{Dir: b.TempDir(), Encoding: encoding}.Objects(b.Context(), nars, []nix.PathInfo{object}, nil)
					if err != nil {
						b.Fatal(err)
					}
					size += layer.size
				}
				return size
			})
		})
	}
}

// BenchmarkCompressor is what there is to choose from, on the archive of a source.
func BenchmarkCompressor(b *testing.B) {
	tree := readSource(b)
	defer tree.Close()
	var buf bytes.Buffer
	writeSource(b, tree, &buf)
	plain := buf.Bytes()
	type open func(io.Writer) (io.WriteCloser, error)
	compressors := map[string]open{}
	names := []string{}
	add := func(name string, o open) { names = append(names, name); compressors[name] = o }
	for _, level := range []int{1, 3, 5, 6, 7, 9} {
		add(fmt.Sprintf("gzip-%d", level), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, level) })
		add(fmt.Sprintf("pgzip-%d", level), func(w io.Writer) (io.WriteCloser, error) {
			z, err := pgzip.NewWriterLevel(w, level)
			if err != nil {
				return nil, err
			}
			return z, z.SetConcurrency(gzipBlock, max(2, runtime.GOMAXPROCS(0)))
		})
	}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
		add("zstd-"+level.String(), func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level))
		})
	}
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			measured(b, func() int64 { return compressedSize(b, compressors[name], plain) })
		})
	}
}

func compressedSize(b *testing.B, open func(io.Writer) (io.WriteCloser, error), plain []byte) int64 {
	b.Helper()
	var n sink
	n.w = sha256.New()
	z, err := open(&n)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := z.Write(plain); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return n.n
}
