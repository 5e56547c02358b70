package nar

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WritePath writes the archive of a file, link or folder of the file system, as nix-store --dump does.
// Of the mode it looks only at the owner's execute bit.
func WritePath(w io.Writer, path string) error {
	nw := NewWriter(w)
	if err := nw.writePath(path, ""); err != nil {
		return err
	}
	return nw.Close()
}

// writePath writes the file with the given name in the file system under its name in the archive.
func (w *Writer) writePath(file, path string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return w.writeFile(file, Entry{Path: path, Kind: Regular, Executable: mode&0o100 != 0, Size: info.Size()})
	case mode.IsDir():
		return w.writeFolder(file, path)
	case mode&os.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return w.WriteEntry(Entry{Path: path, Kind: Symlink, Target: target})
	}
	return fmt.Errorf("%q: neither a file nor a folder nor a link", file)
}

func (w *Writer) writeFile(file string, entry Entry) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.WriteEntry(entry); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

func (w *Writer) writeFolder(file, path string) error {
	children, err := os.ReadDir(file) // sorted by name, bytewise
	if err != nil {
		return err
	}
	if err := w.WriteEntry(Entry{Path: path, Kind: Directory}); err != nil {
		return err
	}
	for _, child := range children {
		name := child.Name()
		if path != "" {
			name = path + "/" + name
		}
		if err := w.writePath(filepath.Join(file, child.Name()), name); err != nil {
			return err
		}
	}
	return nil
}
