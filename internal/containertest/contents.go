package containertest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Contents is what an image is made of.
type Contents struct {
	Config v1.Config
	Files  []File // of all layers together, sorted by path, without the root folder
	Size   int64  // bytes of the files in all layers, those that a later one hides included
}

// A File is a file, link or folder.
type File struct {
	Path     string      // absolute
	Mode     fs.FileMode // with the type
	UID, GID int
	Size     int64  // of a file in bytes, 0 for another name of one
	Target   string // of a link; of another name of a file the first one
}

// Find returns the file at a path, which is not followed if it is a link.
func (c Contents) Find(name string) (File, bool) {
	i, ok := slices.BinarySearchFunc(c.Files, name, func(f File, name string) int { return strings.Compare(f.Path, name) })
	if !ok {
		return File{}, false
	}
	return c.Files[i], true
}

// Below returns the files that are anywhere in a folder, without itself.
func (c Contents) Below(dir string) []File {
	var list []File
	for _, f := range c.Files {
		if strings.HasPrefix(f.Path, dir+"/") {
			list = append(list, f)
		}
	}
	return list
}

// Read reads an image.
func Read(img v1.Image) (Contents, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Config: config.Config}
	layers, err := img.Layers()
	if err != nil {
		return c, err
	}
	files := make(map[string]File)
	for i, l := range layers {
		entries, err := entries(l)
		if err != nil {
			return c, fmt.Errorf("layer %d: %w", i, err)
		}
		cover(files, entries)
		for _, e := range entries {
			c.Size += e.Size
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c.Files = append(c.Files, files[name])
	}
	return c, nil
}

func entries(l v1.Layer) ([]File, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var list []File
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		f := File{Path: path.Join("/", h.Name), Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Size: h.Size, Target: h.Linkname}
		if h.Typeflag == tar.TypeLink {
			f.Target = path.Join("/", h.Linkname)
		}
		if f.Path != "/" {
			list = append(list, f)
		}
	}
}

// Names in a layer that hide what is below it
// (https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts).
const (
	hide    = ".wh."
	hideAll = ".wh..wh..opq"
)

// cover puts a layer on files: first it hides, then it adds.
func cover(files map[string]File, layer []File) {
	remove := func(name string, itself bool) {
		maps.DeleteFunc(files, func(at string, _ File) bool {
			return itself && at == name || strings.HasPrefix(at, strings.TrimSuffix(name, "/")+"/")
		})
	}
	for _, f := range layer {
		dir, base := path.Split(f.Path)
		if base == hideAll {
			remove(dir, false)
		} else if name, ok := strings.CutPrefix(base, hide); ok {
			remove(dir+name, true)
		} else if old, ok := files[f.Path]; ok && old.Mode.IsDir() && !f.Mode.IsDir() {
			remove(f.Path, true)
		}
	}
	for _, f := range layer {
		if !strings.HasPrefix(path.Base(f.Path), hide) {
			files[f.Path] = f
		}
	}
}

// readArchive reads the only image of a file that docker save or buildah push made.
func readArchive(t testing.TB, file string) Contents {
	t.Helper()
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(img)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
