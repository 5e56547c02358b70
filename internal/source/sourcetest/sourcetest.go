// Package sourcetest makes archives like those of nixpkgs, out of nothing, for benchmarks and tests of package source:
// as many files, of the same sizes, names and depth, in the order and form of git archive,
// with text that compresses about as well. The same options give the same bytes.
package sourcetest

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Rev is the commit id that an archive names in its global header and its top-level directory.
const Rev = "5f6d3c1b0a2948e7d6c5b4a39281706f5e4d3c2b"

// Options say how large an archive is. A zero field stands for its default.
type Options struct {
	Files int   // regular files and links; 50,000
	Bytes int64 // about the contents of all files; 200 MB
}

func (o Options) withDefaults() Options {
	if o.Files == 0 {
		o.Files = 50_000
	}
	if o.Bytes == 0 {
		o.Bytes = 200_000_000
	}
	return o
}

// Write writes a gzipped archive.
func Write(w io.Writer, o Options) error {
	zw, err := gzip.NewWriterLevel(w, 6)
	if err != nil {
		return err
	}
	if err := WriteTar(zw, o); err != nil {
		return err
	}
	return zw.Close()
}

// WriteTar writes the archive that Write compresses.
func WriteTar(w io.Writer, o Options) error {
	o = o.withDefaults()
	rng := rand.New(rand.NewPCG(1, 2))
	g := &generator{
		rng:   rng,
		words: makeWords(rng, 6000),
		last:  map[string]string{},
		tw:    tar.NewWriter(w),
		top:   "nixpkgs-" + Rev,
	}
	files := g.plan(o)
	err := g.tw.WriteHeader(&tar.Header{
		Typeflag:   tar.TypeXGlobalHeader,
		Name:       "pax_global_header",
		PAXRecords: map[string]string{"comment": Rev},
	})
	if err != nil {
		return err
	}
	// Byte order of whole paths is the order of git's index.
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	last := ""
	for _, f := range files {
		f.path = path.Join(g.top, f.path)
		dir := path.Dir(f.path)
		if err := g.writeDirectories(last, dir); err != nil {
			return err
		}
		if err := g.writeFile(f); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		last = dir
	}
	return g.tw.Close()
}

// generator writes one archive. All its choices come from rng.
type generator struct {
	rng    *rand.Rand
	words  []string // common ones first
	recent [16]string
	last   map[string]string // what came of each template
	tw     *tar.Writer
	top    string
	text   []byte
}

// commitTime is the time of all members.
var commitTime = time.Unix(1_780_000_000, 0)

// writeDirectories writes the members of the directories that the next file lies in and the last one did not.
func (g *generator) writeDirectories(last, next string) error {
	for i := range len(next) + 1 {
		if i < len(next) && next[i] != '/' || strings.HasPrefix(last+"/", next[:i]+"/") {
			continue
		}
		if err := g.writeHeader(&tar.Header{Typeflag: tar.TypeDir, Name: next[:i] + "/", Mode: 0o775}); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) writeFile(f file) error {
	if f.target != "" {
		return g.writeHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: f.path, Linkname: f.target, Mode: 0o777})
	}
	g.text = g.text[:0]
	f.write(g, path.Base(path.Dir(f.path)), f.size)
	hdr := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Size: int64(len(g.text)), Mode: 0o664}
	if f.executable {
		hdr.Mode = 0o775
	}
	if err := g.writeHeader(hdr); err != nil {
		return err
	}
	_, err := g.tw.Write(g.text)
	return err
}

func (g *generator) writeHeader(hdr *tar.Header) error {
	hdr.Uname, hdr.Gname, hdr.ModTime = "root", "root", commitTime
	return g.tw.WriteHeader(hdr)
}
