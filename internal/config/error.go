package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Error is one problem of a configuration file. Its message holds no secret
// that the file may hold.
type Error struct {
	File   string
	Line   int    // from 1
	Column int    // from 1, in characters; 0 when only the line is known
	Path   string // such as channels[2].systems[0]; "" for the file as a whole
	Msg    string
}

// Error gives file, line, column, path and message, as compilers do.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:", e.File, e.Line)
	if e.Column > 0 {
		s += fmt.Sprintf("%d:", e.Column)
	}
	if e.Path != "" {
		s += " " + e.Path + ":"
	}
	return s + " " + e.Msg
}

// report notes a problem at a place of the file.
func (p *parser) report(line, column int, path, msg string) {
	p.errs = append(p.errs, &Error{File: p.file, Line: line, Column: column, Path: redact(path), Msg: redact(msg)})
}

// err gives what was reported, in the order of the file. A problem in a part
// that several aliases share is told once for each path that leads to it.
func (p *parser) err() error {
	slices.SortStableFunc(p.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	p.errs = slices.CompactFunc(p.errs, func(a, b *Error) bool { return *a == *b })
	errs := make([]error, len(p.errs))
	for i, e := range p.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}
