package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/layers"
)

// Kind is what a file or folder is.
type Kind string

// Kinds of what builds leave.
const (
	IsArchive  Kind = "archive"  // of docker's or OCI's form, maybe compressed, or a pipe
	IsLayout   Kind = "layout"   // OCI layout folder
	IsScript   Kind = "script"   // writes an archive
	IsDocument Kind = "document" // JSON: nix2container's
)

// Find tells what a file or folder is.
func Find(name string) (Kind, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(name, ociIndex)); err != nil {
			return "", fmt.Errorf("%s: a folder that is no OCI layout: it has no %s", name, ociIndex)
		}
		return IsLayout, nil
	}
	if !info.Mode().IsRegular() {
		return IsArchive, nil
	}
	begin, err := beginning(name)
	if err != nil {
		return "", err
	}
	executable := info.Mode()&0o111 != 0
	switch {
	case compressed(begin) || isTar(begin):
		return IsArchive, nil
	case executable && (bytes.HasPrefix(begin, []byte("#!")) || bytes.HasPrefix(begin, []byte("\x7fELF"))):
		return IsScript, nil
	case isJSON(begin):
		return IsDocument, nil
	}
	return "", fmt.Errorf("%s: neither an archive nor a script that writes one, nor JSON of nix2container", name)
}

func beginning(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	begin := make([]byte, tarBlock)
	n, err := io.ReadFull(f, begin)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return begin[:n], err
}

func isTar(begin []byte) bool {
	return len(begin) == tarBlock && bytes.Equal(begin[257:262], []byte("ustar"))
}

func compressed(begin []byte) bool { return layers.Compression(begin) != types.OCIUncompressedLayer }
