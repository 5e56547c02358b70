package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// tarFile is a plain archive whose members can be read in any order.
type tarFile struct {
	file  io.ReaderAt
	at    map[string]extent
	links links
}

// extent is where the bytes of a member lie.
type extent struct{ offset, size int64 }

// indexTar reads the headers of an archive.
func indexTar(f *io.SectionReader) (*tarFile, error) {
	t := &tarFile{file: f, at: map[string]extent{}, links: links{}}
	headers := headers{Reader: tar.NewReader(f)}
	for {
		h, err := headers.next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		offset, err := f.Seek(0, io.SeekCurrent) // package tar reads no further than the header
		if err != nil {
			return nil, err
		}
		if err := t.add(h, offset); err != nil {
			return nil, err
		}
	}
}

func (t *tarFile) add(h *tar.Header, offset int64) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		delete(t.links, name)
		t.at[name] = extent{offset, h.Size}
	case tar.TypeSymlink, tar.TypeLink:
		return t.links.add(name, h.Linkname, h.Typeflag == tar.TypeSymlink)
	}
	return nil
}

func (t *tarFile) find(name string) (extent, error) {
	to, err := t.links.follow(name)
	if err != nil {
		return extent{}, err
	}
	at, ok := t.at[to]
	if !ok {
		return extent{}, memberError(name, errAbsent)
	}
	return at, nil
}

func (t *tarFile) document(name string) ([]byte, error) {
	at, err := t.find(name)
	if err != nil {
		return nil, err
	}
	if at.size > maxDocument {
		return nil, memberError(name, fmt.Errorf("%d bytes are too many", at.size))
	}
	data := make([]byte, at.size)
	if _, err := t.file.ReadAt(data, at.offset); err != nil {
		return nil, memberError(name, err)
	}
	return data, nil
}

func (t *tarFile) layer(name string) (opener, *Taken, error) {
	at, err := t.find(name)
	if err != nil {
		return nil, nil, err
	}
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(t.file, at.offset, at.size)), nil
	}, nil, nil
}

// folder is an OCI layout. Its names are of blobs, and these may be links to
// wherever a build tool keeps them.
type folder string

func (f folder) document(name string) ([]byte, error) {
	data, err := smallfile.Read(f.path(name), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, memberError(name, errAbsent)
	}
	return data, err
}

func (f folder) layer(name string) (opener, *Taken, error) {
	info, err := os.Stat(f.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, memberError(name, errAbsent)
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, memberError(name, errors.New("not a file"))
	}
	return func(context.Context) (io.ReadCloser, error) { return os.Open(f.path(name)) }, nil, nil
}

func (f folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }
