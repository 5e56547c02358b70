package diff

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Bounds of a root file system that is compared. That of the base image has 4,000
// entries and less than a megabyte.
const (
	maxNames = 64 << 20 // bytes of names and targets together
	maxFiles = 1 << 30  // bytes of contents together
)

// notFiles are of the store, and other in every image.
var notFiles = []string{"/nix/var/nix/db/", "/nix/var/nix/gcroots/factory/", image.InventoryPath}

// ReadFiles adds to a part what lies beside the store: the files, links and folders
// of the layer that an image of the factory has for that. It is the only one that is
// read.
func (p *Part) ReadFiles(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	if image.Made(manifest.Annotations) != nil {
		p.Notes = append(p.Notes, "files are not known: the factory did not make this image")
		return nil
	}
	stack, err := img.Layers()
	if err != nil {
		return err
	}
	files := make(map[string]string)
	var names, size int64
	err = layers.Read(stack[len(stack)-1], func(h *tar.Header, content io.Reader) error {
		names, size = names+int64(len(h.Name)+len(h.Linkname)), size+h.Size
		if names > maxNames || size > maxFiles {
			return fmt.Errorf("a root file system of more than %d bytes", maxFiles)
		}
		name := "/" + strings.TrimSuffix(h.Name, "/")
		for _, other := range notFiles {
			if strings.HasPrefix(name, other) {
				return nil
			}
		}
		what, err := describe(h, content)
		files[said.Line(name)] = what
		return err
	})
	if err == nil {
		p.Files = files
	}
	return err
}

// describe says all of an entry that counts. What a link leads to in the store is
// named by the package and the file: its store path is another one in every image.
func describe(h *tar.Header, content io.Reader) (string, error) {
	owner := ""
	if h.Uid != 0 || h.Gid != 0 {
		owner = fmt.Sprintf(" of %d:%d", h.Uid, h.Gid)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return fmt.Sprintf("folder %04o%s", h.Mode, owner), nil
	case tar.TypeSymlink:
		return "link to " + said.Line(packageAt(h.Linkname)), nil
	case tar.TypeReg:
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			return "", err
		}
		return fmt.Sprintf("file %04o%s, %d bytes, %x", h.Mode, owner, h.Size, sum.Sum(nil)[:6]), nil
	}
	return fmt.Sprintf("type %q %04o%s", h.Typeflag, h.Mode, owner), nil
}

// packageAt is a path with the name of the package in the place of a store path.
func packageAt(target string) string {
	rest, ok := strings.CutPrefix(target, nix.StoreDir+"/")
	base, below, _ := strings.Cut(rest, "/")
	store, err := nix.ParseStorePathBase(base)
	if !ok || err != nil {
		return target
	}
	name, _ := splitName(store.Name())
	return name + ":/" + below
}
