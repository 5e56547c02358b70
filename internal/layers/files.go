package layers

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// File is one entry of a root file system.
type File struct {
	Path   string // absolute and clean
	Mode   int64  // permission bits with setuid, setgid and sticky as in chmod; not for links
	Dir    bool
	Target string // of a symbolic link
	Data   []byte // content of a file, unless From is set
	From   string // file on this machine that holds the content

	UID, GID int // of a folder; all else is root's
}

func (f File) kind() string {
	switch {
	case f.Dir:
		return "folder"
	case f.Target != "":
		return "link"
	default:
		return "file"
	}
}

// Files packs a root file system. Folders that no entry names get mode 0755.
// The same path twice is an error, except for a folder with the same mode.
func (p Packer) Files(files []File, createdBy string) (*Layer, error) {
	all, err := complete(files)
	if err != nil {
		return nil, err
	}
	layer, err := p.write(gzipOther, func(a *archive) error {
		for _, f := range all {
			if err := a.add(f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	layer.CreatedBy = createdBy
	return layer, nil
}

// complete returns files with their parent folders, each folder before what is
// in it.
func complete(files []File) ([]File, error) {
	byPath := make(map[string]File, len(files))
	for _, f := range files {
		if f.Path != path.Clean(f.Path) || !path.IsAbs(f.Path) || f.Path == "/" {
			return nil, fmt.Errorf("%q: want an absolute, clean path", f.Path)
		}
		if had, ok := byPath[f.Path]; ok && !(had.Dir && f.Dir && had.Mode == f.Mode && had.UID == f.UID && had.GID == f.GID) {
			return nil, fmt.Errorf("%q is there twice: as a %s and as a %s", f.Path, had.kind(), f.kind())
		}
		byPath[f.Path] = f
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			had, ok := byPath[dir]
			if ok && !had.Dir {
				return nil, fmt.Errorf("%q lies below %q, which is a %s", f.Path, dir, had.kind())
			}
			if !ok {
				byPath[dir] = File{Path: dir, Dir: true, Mode: 0o755}
			}
		}
	}
	all := make([]File, 0, len(byPath))
	for _, f := range byPath {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b File) int {
		// "/" sorts before every other byte that way, so a folder's
		// content follows it at once.
		return strings.Compare(strings.ReplaceAll(a.Path, "/", "\x00"), strings.ReplaceAll(b.Path, "/", "\x00"))
	})
	return all, nil
}

func (a *archive) add(f File) error {
	name := f.Path[1:]
	switch {
	case f.Dir:
		return a.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: f.Mode, Uid: f.UID, Gid: f.GID})
	case f.Target != "":
		return a.symlink(name, f.Target)
	case f.From == "":
		return a.file(name, f.Mode, int64(len(f.Data)), bytes.NewReader(f.Data))
	}
	from, err := os.Open(f.From)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	return a.file(name, f.Mode, info.Size(), io.LimitReader(from, info.Size()))
}
