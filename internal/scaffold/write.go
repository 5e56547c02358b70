package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// ThereError says which names are taken.
type ThereError struct{ Names []string }

func (e *ThereError) Error() string {
	verb := " is"
	if len(e.Names) > 1 {
		verb = " are"
	}
	return strings.Join(e.Names, ", ") + verb + " there already"
}

// Write writes all files below a folder, which it makes. If one of them is there, or
// the image folder, the error is a *ThereError and nothing is written; if one cannot be
// written, what was written before is taken away again.
func Write(dir string, files []File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := vacant(root, files); err != nil {
		return err
	}
	made := made{root: root}
	for _, f := range files {
		if err := made.write(f); err != nil {
			return errors.Join(err, made.undo())
		}
	}
	return nil
}

// vacant looks for names that are taken.
func vacant(root *os.Root, files []File) error {
	names := []string{ImageFolder}
	for _, f := range files {
		if !strings.HasPrefix(f.Path, ImageFolder+"/") {
			names = append(names, f.Path)
		}
	}
	var there []string
	for _, name := range names {
		_, err := root.Lstat(name)
		switch {
		case err == nil:
			there = append(there, name)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if len(there) > 0 {
		return &ThereError{there}
	}
	return nil
}

// made remembers what was made, in order.
type made struct {
	root  *os.Root
	names []string
}

func (m *made) write(f File) error {
	if err := m.folder(path.Dir(f.Path)); err != nil {
		return err
	}
	file, err := m.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode)
	if err != nil {
		return err
	}
	m.names = append(m.names, f.Path)
	_, err = file.Write(f.Data)
	return errors.Join(err, file.Close())
}

// folder makes a folder and those above it.
func (m *made) folder(name string) error {
	if name == "." {
		return nil
	}
	if err := m.folder(path.Dir(name)); err != nil {
		return err
	}
	err := m.root.Mkdir(name, 0o755)
	if err == nil {
		m.names = append(m.names, name)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := m.root.Stat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", name)
	}
	return err
}

func (m *made) undo() error {
	var errs []error
	for i := len(m.names) - 1; i >= 0; i-- {
		errs = append(errs, m.root.Remove(m.names[i]))
	}
	return errors.Join(errs...)
}
