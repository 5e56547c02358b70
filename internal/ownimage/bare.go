package ownimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// certificatesPath is where programs, the factory too, look for certificates.
const certificatesPath = "/etc/ssl/certs/ca-certificates.crt"

// bareEnv is the environment of an image without a base.
var bareEnv = []string{"HOME=" + StateDir, "PATH=" + path.Dir(ProgramPath)}

// bareFiles are what the factory needs besides itself: certificates, which are the
// base's, and a folder for temporary files.
func bareFiles(base image.Opened) ([]layers.File, error) {
	tools, err := image.Tools(base.Config.Config.Labels)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(tools, func(t image.ToolFact) bool { return t.Name == "nss-cacert" })
	if i < 0 {
		return nil, errors.New("the base has no nss-cacert, whose certificates are to be taken")
	}
	bundle, err := fileOf(base, path.Base(tools[i].Path), "etc/ssl/certs/ca-bundle.crt")
	if err != nil {
		return nil, err
	}
	return []layers.File{
		{Path: certificatesPath, Mode: 0o644, Data: bundle},
		{Path: "/tmp", Dir: true, Mode: 0o1777},
	}, nil
}

// fileOf reads a file of a store object in an image.
func fileOf(of image.Opened, object, name string) ([]byte, error) {
	stack, err := of.Stack()
	if err != nil {
		return nil, err
	}
	for _, l := range stack {
		if slices.Contains(l.Paths, object) {
			return member(l.Blob, path.Join("nix/store", object, name))
		}
	}
	return nil, fmt.Errorf("no layer of the base has %s", object)
}

// maxCertificates bounds a file with certificates. Real ones have 250 kB.
const maxCertificates = 8 << 20

// member reads a file of a layer.
func member(blob v1.Layer, name string) ([]byte, error) {
	rc, err := blob.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	archive := tar.NewReader(rc)
	for {
		h, err := archive.Next()
		switch {
		case err == io.EOF:
			return nil, fmt.Errorf("the base has no %s", name)
		case err != nil:
			return nil, err
		case path.Clean(h.Name) != name || h.Typeflag != tar.TypeReg:
			continue
		case h.Size > maxCertificates:
			return nil, fmt.Errorf("%s has %d bytes, more than %d", name, h.Size, maxCertificates)
		}
		return io.ReadAll(archive)
	}
}
