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
	r := reader{window: t.spool.window()}
	for s := range t.root.steps {
		if err := fn(r.entry(s)); err != nil {
			return err
		}
	}
	return nil
}

// step is one entry of a walk through a tree.
type step struct {
	depth int // 0 for the top-level entry
	node  *node
}

// steps are those of a walk in NAR order through a complete tree.
func (n *node) steps(yield func(step) bool) { n.walk(0, yield) }

func (n *node) walk(depth int, yield func(step) bool) bool {
	if !yield(step{depth, n}) {
		return false
	}
	for _, c := range n.children {
		if !c.walk(depth+1, yield) {
			return false
		}
	}
	return true
}

// reader makes entries of the steps of a walk, one after the other.
type reader struct {
	window  *window
	content contents
	paths   []string // of the last entry, and of the directories that lead to it, the top-level one first
}

// entry returns the next entry. The contents are nil but for regular files; they are valid until the next call.
func (r *reader) entry(s step) (nar.Entry, io.Reader) {
	path := ""
	switch {
	case s.depth == 1:
		path = s.node.name
	case s.depth > 1:
		path = r.paths[s.depth-1] + "/" + s.node.name
	}
	r.paths = append(r.paths[:s.depth], path)

	e := nar.Entry{Path: path, Kind: s.node.kind}
	switch e.Kind {
	case nar.Regular:
		f := s.node.file
		e.Size, e.Executable = f.size, f.executable
		r.content = contents{w: r.window, offset: f.offset, left: f.size}
		return e, &r.content
	case nar.Symlink:
		e.Target = s.node.target
	}
	return e, nil
}

// WriteNAR writes the NAR that NarHash and NarSize are of.
func (t *Tree) WriteNAR(w io.Writer) error {
	nw := nar.NewWriter(w)
	err := t.Walk(func(e nar.Entry, content io.Reader) error {
		return writeEntry(nw, e, content)
	})
	if err != nil {
		return err
	}
	return nw.Close()
}

func writeEntry(w *nar.Writer, e nar.Entry, content io.Reader) error {
	if err := w.WriteEntry(e); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
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
