package sourcetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
)

// The archive is what measurements are compared on:
// whoever changes the sum makes all earlier ones worthless, and should have a reason.
func TestSameBytes(t *testing.T) {
	h := sha256.New()
	if err := WriteTar(h, Options{Files: 2000, Bytes: 8_000_000}); err != nil {
		t.Fatal(err)
	}
	const want = "85431f5c793442a4ebd690f0a55a54bcbee6b5161244357ec4086a5086bfc993"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("SHA-256 is %s, want %s", got, want)
	}
}

func TestProportions(t *testing.T) {
	opts := Options{Files: 6000, Bytes: 24_000_000}
	var archive bytes.Buffer
	if err := Write(&archive, opts); err != nil {
		t.Fatal(err)
	}
	compressed := archive.Len()
	zr, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	var files, links, programs, long int
	var size int64
	for tr := tar.NewReader(zr); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch hdr.Typeflag {
		case tar.TypeReg:
			files++
		case tar.TypeSymlink:
			links++
		}
		if hdr.Typeflag == tar.TypeReg && hdr.Mode&0o100 != 0 {
			programs++
		}
		if len(hdr.Name) > 255 {
			long++
		}
		size += hdr.Size
		if !strings.HasPrefix(hdr.Name, "nixpkgs-"+Rev+"/") && hdr.Typeflag != tar.TypeXGlobalHeader {
			t.Errorf("member %q is not below the top-level directory", hdr.Name)
		}
	}
	if files+links != opts.Files {
		t.Errorf("%d files and %d links, want %d together", files, links, opts.Files)
	}
	if links == 0 || programs == 0 || long == 0 {
		t.Errorf("%d links, %d programs, %d long names, want some of each", links, programs, long)
	}
	if off := float64(size)/float64(opts.Bytes) - 1; off < -0.1 || off > 0.1 {
		t.Errorf("%d bytes of contents, want about %d", size, opts.Bytes)
	}
	if ratio := float64(size) / float64(compressed); ratio < 3.5 || ratio > 5.5 {
		t.Errorf("contents are %.1f times the size of the archive, want about 4.5", ratio)
	}
}
