package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// Unpack writes the tree into dir, which must be empty or not exist yet, as files that an evaluator can read:
// directories with mode 0755, files 0444 or 0555, whatever the umask.
// Every entry is new when it is made, in a directory that is open; no link is ever followed.
// After an error a part of the tree is left in dir.
func (t *Tree) Unpack(dir string) error {
	if t.root.kind != nar.Directory {
		return fmt.Errorf("unpack: top-level entry is %s", describe(t.root.kind))
	}
	root, err := emptyRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	u := unpacker{windows: sync.Pool{New: func() any { return t.spool.window() }}}
	u.group.SetLimit(2 * runtime.GOMAXPROCS(0))
	u.group.Go(func() error { return u.directory(root, t.root) })
	if err := u.group.Wait(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// Footprint is how many bytes of memory the unpacked tree takes in a file system in memory,
// and how many files and folders.
func (t *Tree) Footprint() (bytes, files int64) {
	const page, entry = 4 << 10, 2 << 10 // entry: inode and name, with room to spare
	files = int64(t.root.count())
	return t.root.pages(page) + files*entry, files
}

// pages is how many bytes whole pages with the contents of all files have.
func (n *node) pages(page int64) int64 {
	if n.kind == nar.Regular {
		return (n.file.size + page - 1) / page * page
	}
	var total int64
	for _, c := range n.children {
		total += c.pages(page)
	}
	return total
}

// emptyRoot opens a directory that has nothing in it, which it makes if need be.
func emptyRoot(dir string) (*os.Root, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty", dir)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// unpacker writes several directories at once.
type unpacker struct {
	group   errgroup.Group
	windows sync.Pool
}

// directory writes the entries of n into dir and closes it.
func (u *unpacker) directory(dir *os.Root, n *node) error {
	defer dir.Close()
	if err := u.leaves(dir, n.children); err != nil {
		return fmt.Errorf("in %s: %w", dir.Name(), err)
	}
	for _, c := range n.children {
		if c.kind != nar.Directory {
			continue
		}
		below, err := makeDirectory(dir, c.name)
		if err != nil {
			return fmt.Errorf("in %s: %w", dir.Name(), err)
		}
		if u.group.TryGo(func() error { return u.directory(below, c) }) {
			continue
		}
		if err := u.directory(below, c); err != nil {
			return err
		}
	}
	return nil
}

// leaves writes the files and symbolic links among some entries.
func (u *unpacker) leaves(dir *os.Root, entries []*node) error {
	w := u.windows.Get().(*window)
	defer u.windows.Put(w)
	for _, n := range entries {
		var err error
		switch n.kind {
		case nar.Regular:
			err = writeFile(dir, n, w)
		case nar.Symlink:
			err = dir.Symlink(n.target, n.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func makeDirectory(dir *os.Root, name string) (*os.Root, error) {
	if err := dir.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if err := below.Chmod(".", 0o755); err != nil {
		below.Close()
		return nil, err
	}
	return below, nil
}

func writeFile(dir *os.Root, n *node, w *window) error {
	mode := fs.FileMode(0o444)
	if n.file.executable {
		mode = 0o555
	}
	f, err := dir.OpenFile(n.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = (&contents{w: w, offset: n.file.offset, left: n.file.size}).WriteTo(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}
