package layers

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// epoch is the time of every file: what Nix gives to files in the store.
var epoch = time.Unix(1, 0).UTC()

// archive writes the tar archive of a layer: entries with fixed owner, mode and
// time, and the folders that lie above them.
type archive struct {
	tar *tar.Writer
}

func newArchive(w io.Writer) *archive { return &archive{tar: tar.NewWriter(w)} }

func (a *archive) Close() error { return a.tar.Close() }

// header is the one place where the metadata of an entry is decided.
func (a *archive) header(h tar.Header) error {
	if base := path.Base(strings.TrimSuffix(h.Name, "/")); strings.HasPrefix(base, ".wh.") {
		return fmt.Errorf("%q: a name that begins with .wh. deletes files of the layers below", h.Name)
	}
	h.ModTime = epoch
	if err := a.tar.WriteHeader(&h); err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	return nil
}

func (a *archive) folder(name string, mode int64) error {
	return a.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func (a *archive) symlink(name, target string) error {
	return a.header(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (a *archive) hardlink(name, target string, mode int64) error {
	return a.header(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: mode})
}

func (a *archive) file(name string, mode, size int64, content io.Reader) error {
	if err := a.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode}); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, content)
	return err
}

// storeFolders writes the folders that every store path lies in.
func (a *archive) storeFolders() error {
	if err := a.folder("nix", 0o755); err != nil {
		return err
	}
	return a.folder("nix/store", 0o755)
}

// object writes one entry of a store object.
func (a *archive) object(p nix.StorePath, e nar.Entry, content io.Reader) error {
	name := "nix/store/" + p.Base()
	if e.Path != "" {
		name += "/" + e.Path
	}
	switch e.Kind {
	case nar.Directory:
		return a.folder(name, 0o555)
	case nar.Symlink:
		return a.symlink(name, e.Target)
	default:
		return a.file(name, fileMode(e), e.Size, content)
	}
}

// linked writes one entry of a second store object with the content of the
// first: folders and symbolic links again, files as hard links.
func (a *archive) linked(p, first nix.StorePath, e nar.Entry) error {
	if e.Kind != nar.Regular {
		return a.object(p, e, nil)
	}
	below := ""
	if e.Path != "" {
		below = "/" + e.Path
	}
	return a.hardlink("nix/store/"+p.Base()+below, "nix/store/"+first.Base()+below, fileMode(e))
}

func fileMode(e nar.Entry) int64 {
	if e.Executable {
		return 0o555
	}
	return 0o444
}
