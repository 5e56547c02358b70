package nar

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Writer writes an archive as a stream. It accepts entries only in the order of the archive.
// After an error, every further call returns the same error.
type Writer struct {
	dst    *bufio.Writer
	begun  bool
	closed bool
	inFile bool
	left   int64 // contents of the current file not yet written
	pad    int   // zeros behind them
	open   []folder
	path   string // of the current entry, for errors
	err    error
}

// NewWriter writes an archive to dst. Close completes it.
func NewWriter(dst io.Writer) *Writer {
	return &Writer{dst: bufio.NewWriterSize(dst, bufferSize)}
}

// WriteEntry begins the next entry, which must come after the last one in the order of Reader.Next.
// The Size bytes of a Regular must be written before the next call.
func (w *Writer) WriteEntry(entry Entry) error {
	if w.err != nil {
		return w.err
	}
	if err := w.closeFile(); err != nil {
		return w.fail(err)
	}
	w.path = entry.Path
	if err := w.writeEntry(entry); err != nil {
		return w.fail(err)
	}
	return nil
}

// Write adds to the contents of the current Regular. More than its Size is an error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.left {
		return 0, w.fail(fmt.Errorf("%d bytes too many", int64(len(p))-w.left))
	}
	n, err := w.dst.Write(p)
	w.left -= int64(n)
	if err != nil {
		return n, w.fail(err)
	}
	return n, nil
}

// ReadFrom adds all that src holds to the contents of the current Regular.
// It makes io.Copy do without a buffer.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.dst.ReadFrom(&io.LimitedReader{R: src, N: w.left + 1})
	if err == nil && n > w.left {
		err = errors.New("contents longer than announced")
	}
	w.left -= n
	if err != nil {
		return n, w.fail(err)
	}
	return n, nil
}

// Close completes the archive. It does not close the destination.
func (w *Writer) Close() error {
	if w.closed || w.err != nil {
		return w.err
	}
	if !w.begun {
		return w.fail(errors.New("no entry"))
	}
	err := w.closeFile()
	if err == nil {
		w.closeFolders(0)
		err = w.dst.Flush()
	}
	if err != nil {
		return w.fail(err)
	}
	w.closed = true
	return nil
}

func (w *Writer) fail(err error) error {
	if w.path == "" {
		w.err = fmt.Errorf("nar: %w", err)
	} else {
		w.err = fmt.Errorf("nar: %q: %w", w.path, err)
	}
	return w.err
}

func (w *Writer) writeEntry(entry Entry) error {
	switch {
	case w.closed:
		return errors.New("the archive is complete")
	case !w.begun && entry.Path != "":
		return errors.New("the first entry is not the root")
	case !w.begun:
		w.begun = true
		w.strings(magic)
		return w.node(entry)
	case entry.Path == "":
		return errors.New("a second root")
	}
	parent, name := "", entry.Path
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		parent, name = name[:i], name[i+1:]
	}
	depth := len(w.open)
	for depth > 0 && w.open[depth-1].path != parent {
		depth--
	}
	if depth == 0 {
		return fmt.Errorf("not in order: no directory %q is open", parent)
	}
	if err := checkDepth(depth); err != nil {
		return err
	}
	w.closeFolders(depth)
	top := &w.open[depth-1]
	if err := top.check(name); err != nil {
		return err
	}
	if entry.Path[0] == '/' {
		return errors.New("absolute path")
	}
	top.last = name
	w.strings("entry", "(", "name", name, "node")
	return w.node(entry)
}

func (w *Writer) node(entry Entry) error {
	w.strings("(", "type", entry.Kind.String())
	switch entry.Kind {
	case Directory:
		w.open = append(w.open, folder{path: entry.Path})
	case Regular:
		if entry.Size < 0 {
			return fmt.Errorf("size %d", entry.Size)
		}
		if entry.Executable {
			w.strings("executable", "")
		}
		w.strings("contents")
		w.length(entry.Size)
		w.inFile, w.left, w.pad = true, entry.Size, padding(entry.Size)
	case Symlink:
		if err := checkTarget(entry.Target); err != nil {
			return err
		}
		w.strings("target", entry.Target, ")")
		w.closeEntry()
	default:
		return fmt.Errorf("unknown type %v", entry.Kind)
	}
	return nil
}

func (w *Writer) closeFile() error {
	if !w.inFile {
		return nil
	}
	if w.left > 0 {
		return fmt.Errorf("%d bytes too few", w.left)
	}
	w.inFile = false
	w.zeros(w.pad)
	w.strings(")")
	w.closeEntry()
	return nil
}

// closeFolders ends the innermost open folders until so many are left.
func (w *Writer) closeFolders(left int) {
	for len(w.open) > left {
		w.open = w.open[:len(w.open)-1]
		w.strings(")")
		w.closeEntry()
	}
}

func (w *Writer) closeEntry() {
	if len(w.open) > 0 {
		w.strings(")")
	}
}

// The errors of the following writes stick to the bufio.Writer; Write and Close return them.

func (w *Writer) strings(words ...string) {
	for _, s := range words {
		w.length(int64(len(s)))
		w.dst.WriteString(s)
		w.zeros(padding(int64(len(s))))
	}
}

func (w *Writer) length(n int64) {
	w.dst.Write(binary.LittleEndian.AppendUint64(w.dst.AvailableBuffer(), uint64(n)))
}

func (w *Writer) zeros(n int) {
	w.dst.WriteString("\x00\x00\x00\x00\x00\x00\x00\x00"[:n])
}
