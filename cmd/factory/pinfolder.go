package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/nixpkgs-factory/factory/internal/pin"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// A folder is one whose files are pinned. Links in it are not followed: what they
// lead to inside of it is there under its own name.
type folder struct{ root *os.Root }

// How much of a folder is looked at.
const (
	maxPinFile    = 4 << 20
	maxPinEntries = 1 << 20
)

// Folders that somebody else's files are in. Others with a .git are repositories
// of their own.
var othersFolders = []string{".git", ".hg", ".svn", ".jj", ".direnv", ".devenv", "node_modules", "vendor"}

func openFolder(dir string) (folder, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return folder{}, fmt.Errorf("%q: there is no such folder", dir)
	}
	if err == nil && !info.IsDir() {
		return folder{}, fmt.Errorf("%q is a file: want a folder", dir)
	}
	root, err := os.OpenRoot(dir)
	return folder{root}, err
}

func (f folder) Close() { f.root.Close() }

// read returns the files that name nixpkgs, or may do and cannot be read.
func (f folder) read(ctx context.Context, o pin.Options) ([]pin.File, error) {
	var files []pin.File
	entries := 0
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if entries++; entries > maxPinEntries {
			return fmt.Errorf("%s: more than %d files: name a smaller folder", f.root.Name(), maxPinEntries)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil:
			files = append(files, pin.File{Name: name, Err: err})
			return nil
		case d.IsDir() && f.isOthers(name):
			return fs.SkipDir
		case !d.Type().IsRegular() || !pin.Knows(name):
			return nil
		}
		if file := f.find(name, o); len(file.Spots) > 0 || file.Err != nil {
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

func (f folder) isOthers(dir string) bool {
	if dir == "." {
		return false
	}
	_, err := f.root.Lstat(path.Join(dir, ".git"))
	return err == nil || slices.Contains(othersFolders, path.Base(dir))
}

func (f folder) find(name string, o pin.Options) pin.File {
	file := pin.File{Name: name}
	if file.Text, file.Err = smallfile.ReadIn(f.root, name, maxPinFile); file.Err == nil {
		file.Spots, file.Err = pin.Find(name, file.Text, o)
	}
	if info, err := f.root.Lstat(name); err == nil && names(info) > 1 {
		for i := range file.Spots {
			file.Spots[i].Left = "the file has another name, a hard link, which would keep what is there"
		}
	}
	return file
}

func names(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// write replaces the files that are to change: all are made beside the old ones
// before the first takes its place.
func (f folder) write(pinned []pin.Pinned) error {
	staged, err := f.stage(pinned)
	if err == nil {
		err = f.replace(staged)
	}
	for _, s := range staged {
		f.root.Remove(s.temporary) // what took its place is not there
	}
	return err
}

// staged is a file that is to take the place of another.
type staged struct{ name, temporary string }

func (f folder) stage(pinned []pin.Pinned) (list []staged, err error) {
	for _, p := range pinned {
		if bytes.Equal(p.Text, p.New) {
			continue
		}
		s := staged{p.Name, path.Join(path.Dir(p.Name), ".factory-pin-"+rand.Text())}
		list = append(list, s)
		if err := f.prepare(s, p); err != nil {
			return list, fmt.Errorf("%w; nothing was written", err)
		}
	}
	return list, nil
}

func (f folder) prepare(s staged, p pin.Pinned) error {
	info, err := f.root.Lstat(s.name)
	if err != nil {
		return err
	}
	now, err := smallfile.ReadIn(f.root, s.name, maxPinFile)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || !bytes.Equal(now, p.Text) {
		return fmt.Errorf("%s: it changed while it was looked at", s.name)
	}
	out, err := f.root.OpenFile(s.temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(p.New)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = out.Chown(int(stat.Uid), int(stat.Gid)) // root writes others' files; nobody else has to
	}
	return errors.Join(err, out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
}

func (f folder) replace(list []staged) error {
	var done []string
	for _, s := range list {
		if err := f.root.Rename(s.temporary, s.name); err != nil {
			written := "nothing was written"
			if len(done) > 0 {
				written = "written was " + strings.Join(done, ", ")
			}
			return fmt.Errorf("%s: %w; %s", filepath.Join(f.root.Name(), s.name), err, written)
		}
		done = append(done, s.name)
	}
	return nil
}
