package nar

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// next reads up to the next entry, through what is left of the current one.
func (r *Reader) next() (Entry, error) {
	for r.inFile && r.left > 0 {
		chunk, err := r.contents()
		if err != nil {
			return Entry{}, err
		}
		r.use(len(chunk))
		r.left -= int64(len(chunk))
	}
	if r.inFile {
		if err := r.closeFile(); err != nil {
			return Entry{}, err
		}
	}
	if !r.begun {
		r.begun = true
		if err := r.expect(magic); err != nil {
			return Entry{}, err
		}
		return r.node()
	}
	for len(r.open) > 0 {
		r.path = r.open[len(r.open)-1].path
		word, err := r.token(maxWord)
		if err != nil {
			return Entry{}, err
		}
		switch string(word) {
		case "entry":
			return r.entry()
		case ")":
			r.open = r.open[:len(r.open)-1]
			if err := r.closeEntry(); err != nil {
				return Entry{}, err
			}
		default:
			return Entry{}, fmt.Errorf(`want "entry" or ")", found %q`, word)
		}
	}
	return Entry{}, r.end()
}

// entry reads an entry of the innermost open folder, behind the keyword.
func (r *Reader) entry() (Entry, error) {
	if err := r.expect("(", "name"); err != nil {
		return Entry{}, err
	}
	token, err := r.token(maxName)
	if err != nil {
		return Entry{}, err
	}
	top := &r.open[len(r.open)-1]
	name := string(token)
	if err := top.check(name); err != nil {
		return Entry{}, err
	}
	path := top.child(name)
	top.last = path[len(path)-len(token):]
	r.path = path
	if err := checkDepth(len(r.open)); err != nil {
		return Entry{}, err
	}
	if err := r.expect("node"); err != nil {
		return Entry{}, err
	}
	return r.node()
}

// node reads a node up to its children or contents.
func (r *Reader) node() (Entry, error) {
	if err := r.expect("(", "type"); err != nil {
		return Entry{}, err
	}
	kind, err := r.token(maxWord)
	if err != nil {
		return Entry{}, err
	}
	switch string(kind) {
	case "directory":
		r.open = append(r.open, folder{path: r.path})
		return Entry{Path: r.path, Kind: Directory}, nil
	case "regular":
		return r.regular()
	case "symlink":
		return r.symlink()
	}
	return Entry{}, fmt.Errorf("unknown type %q", kind)
}

func (r *Reader) regular() (Entry, error) {
	entry := Entry{Path: r.path, Kind: Regular}
	word, err := r.token(maxWord)
	if err != nil {
		return Entry{}, err
	}
	if string(word) == "executable" {
		entry.Executable = true
		if err := r.expect("", "contents"); err != nil {
			return Entry{}, err
		}
	} else if string(word) != "contents" {
		return Entry{}, fmt.Errorf(`want "executable" or "contents", found %q`, word)
	}
	if entry.Size, err = r.length(math.MaxInt64); err != nil {
		return Entry{}, err
	}
	r.inFile, r.left, r.pad = true, entry.Size, padding(entry.Size)
	return entry, nil
}

func (r *Reader) symlink() (Entry, error) {
	if err := r.expect("target"); err != nil {
		return Entry{}, err
	}
	token, err := r.token(maxTarget)
	if err != nil {
		return Entry{}, err
	}
	target := string(token)
	if err := checkTarget(target); err != nil {
		return Entry{}, err
	}
	if err := r.expect(")"); err != nil {
		return Entry{}, err
	}
	return Entry{Path: r.path, Kind: Symlink, Target: target}, r.closeEntry()
}

// closeFile reads what follows the contents of a file.
func (r *Reader) closeFile() error {
	r.inFile = false
	if err := r.zeros(r.pad); err != nil {
		return err
	}
	if err := r.expect(")"); err != nil {
		return err
	}
	return r.closeEntry()
}

// closeEntry reads what follows a node; behind the root there is nothing.
func (r *Reader) closeEntry() error {
	if len(r.open) == 0 {
		return nil
	}
	return r.expect(")")
}

// end returns io.EOF if the source ends here.
func (r *Reader) end() error {
	r.path = ""
	if r.size >= 0 && r.pos != r.size {
		return fmt.Errorf("ends here (want %d bytes)", r.size)
	}
	err := r.fill(1)
	switch {
	case err == nil:
		return errors.New("bytes behind the end")
	case errors.Is(err, io.ErrUnexpectedEOF) && r.srcErr == io.EOF:
		return io.EOF
	}
	return err
}
