package source

import (
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// Walk calls fn for every entry in NAR order: a directory, then all that is below it,
// entries of one directory by the bytes of their names. The top-level entry comes first and has the path "".
// content is nil but for regular files; it holds Size bytes, is valid until fn returns, and need not be read.
// An error of fn ends the walk and is returned as it is.
func (t *Tree) Walk(fn func(e nar.Entry, content io.Reader) error) error {
	return t.walk("", t.root, &window{s: t.spool}, fn)
}

func (t *Tree) walk(path string, n *node, w *window, fn func(e nar.Entry, content io.Reader) error) error {
	e := nar.Entry{Path: path, Kind: n.kind}
	switch n.kind {
	case nar.Regular:
		e.Size, e.Executable = n.file.size, n.file.executable
		return fn(e, &contents{w: w, offset: n.file.offset, left: n.file.size})
	case nar.Symlink:
		e.Target = n.target
		return fn(e, nil)
	}
	if err := fn(e, nil); err != nil {
		return err
	}
	for _, c := range n.children {
		below := c.name
		if path != "" {
			below = path + "/" + c.name
		}
		if err := t.walk(below, c, w, fn); err != nil {
			return err
		}
	}
	return nil
}

// WriteNAR writes the NAR that NarHash and NarSize are of.
func (t *Tree) WriteNAR(w io.Writer) error {
	nw := nar.NewWriter(w)
	err := t.Walk(func(e nar.Entry, content io.Reader) error {
		if err := nw.WriteEntry(e); err != nil || e.Kind != nar.Regular {
			return err
		}
		_, err := io.Copy(nw, content)
		return err
	})
	if err != nil {
		return err
	}
	return nw.Close()
}

// ReadFile returns the contents of the regular file at a path like "lib/minver.nix". Links are not followed.
// The error wraps [fs.ErrNotExist] if there is nothing at that path; more than max bytes are an error.
func (t *Tree) ReadFile(path string, max int64) ([]byte, error) {
	n := t.root.find(strings.Split(path, "/"))
	switch {
	case n == nil:
		return nil, fmt.Errorf("%q: %w", path, fs.ErrNotExist)
	case n.kind != nar.Regular:
		return nil, fmt.Errorf("%q is %s", path, describe(n.kind))
	case n.file.size > max:
		return nil, fmt.Errorf("%q has %d bytes, more than %d", path, n.file.size, max)
	}
	data := make([]byte, n.file.size)
	if _, err := t.spool.f.ReadAt(data, n.file.offset); err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	return data, nil
}
