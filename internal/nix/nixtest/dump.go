package nixtest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// WritePath writes the archive of a file, link or folder of the file system, as nix-store --dump does.
// Of the mode it looks only at the owner's execute bit.
func WritePath(w io.Writer, path string) error {
	nw := nar.NewWriter(w)
	if err := writePath(nw, path, ""); err != nil {
		return err
	}
	return nw.Close()
}

// writePath writes the file with the given name in the file system under its name in the archive.
func writePath(w *nar.Writer, file, path string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return writeFile(w, file, nar.Entry{Path: path, Kind: nar.Regular, Executable: mode&0o100 != 0, Size: info.Size()})
	case mode.IsDir():
		return writeFolder(w, file, path)
	case mode&os.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return w.WriteEntry(nar.Entry{Path: path, Kind: nar.Symlink, Target: target})
	}
	return fmt.Errorf("%q: neither a file nor a folder nor a link", file)
}

func writeFile(w *nar.Writer, file string, entry nar.Entry) error {
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

func writeFolder(w *nar.Writer, file, path string) error {
	children, err := os.ReadDir(file) // sorted by name, bytewise
	if err != nil {
		return err
	}
	if err := w.WriteEntry(nar.Entry{Path: path, Kind: nar.Directory}); err != nil {
		return err
	}
	for _, child := range children {
		name := child.Name()
		if path != "" {
			name = path + "/" + name
		}
		if err := writePath(w, filepath.Join(file, child.Name()), name); err != nil {
			return err
		}
	}
	return nil
}
