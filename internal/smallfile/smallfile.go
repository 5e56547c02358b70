// Package smallfile reads files that ought to be small, from wherever their
// names lead: a device, a pipe or a file of any size is an error at once.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Read reads a regular file of at most most bytes.
func Read(name string, most int64) ([]byte, error) {
	// To open a pipe would wait for somebody to write into it.
	return read(os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0))(name, most)
}

// ReadIn is Read for a file below root: a link that leads out of it is an error.
func ReadIn(root *os.Root, name string, most int64) ([]byte, error) {
	return read(root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0))(name, most)
}

func read(f *os.File, err error) func(name string, most int64) ([]byte, error) {
	return func(name string, most int64) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("not a regular file (it is %s)", kind(info.Mode()))}
		}
		data, err := io.ReadAll(io.LimitReader(f, most+1))
		if err == nil && int64(len(data)) > most {
			return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("larger than %d bytes", most)}
		}
		return data, err
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}
