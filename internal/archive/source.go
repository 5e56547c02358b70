package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Options say what of a source is meant.
type Options struct {
	Select string // name or digest of an image, where there are several; "": there is one
	Form   Form   // what an archive or a folder is taken for; "": what it is

	Said io.Writer // gets what a script says while it runs; nil: nobody
}

// Form is how images lie in an archive.
type Form string

// The forms of archives. One that is both is a docker archive, unless the other
// is asked for.
const (
	Docker Form = "docker-archive"
	OCI    Form = "oci"
)

// read reads the images that members make up.
func (o Options) read(m members) (Set, error) {
	if o.Form == OCI {
		return readOCI(m, o.Select)
	}
	_, err := m.document(dockerManifest)
	if o.Form == "" && errors.Is(err, fs.ErrNotExist) {
		if _, err := m.document(ociIndex); errors.Is(err, fs.ErrNotExist) {
			return Set{}, fmt.Errorf("there is neither a %s, as docker archives have it, nor an %s, as OCI layouts have it", dockerManifest, ociIndex)
		}
		return readOCI(m, o.Select)
	}
	return readDocker(m, o.Select)
}

// source is a Source that is named in errors.
type source struct {
	name  string
	read  func(context.Context, Take) (Set, error)
	close func() error
}

func (s source) Images(ctx context.Context, take Take) (Set, error) {
	set, err := s.read(ctx, take)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%s: %w", s.name, err)
	}
	for _, img := range slices.Concat(set.Images, set.Attached) {
		for i := range img.Layers {
			img.Layers[i].From = s.name + ": " + img.Layers[i].From
		}
	}
	return set, err
}

func (s source) Close() error { return s.close() }

// Folder is an OCI layout.
func Folder(dir string, o Options) Source {
	o.Form = OCI
	return source{
		name:  dir,
		read:  func(context.Context, Take) (Set, error) { return o.read(folder(dir)) },
		close: func() error { return nil },
	}
}

// File opens an archive, which may be compressed, or a pipe that gives one. Only
// a file that is not compressed can be read in any order.
func File(name string, o Options) (Source, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	begin := make([]byte, 4)
	if n, _ := f.ReadAt(begin, 0); !info.Mode().IsRegular() || compressed(begin[:n]) {
		return Stream(name, f, o), nil
	}
	return source{name: name, close: f.Close, read: func(context.Context, Take) (Set, error) {
		t, err := indexTar(io.NewSectionReader(f, 0, info.Size()))
		if err != nil {
			return Set{}, err
		}
		return o.read(t)
	}}, nil
}

// Stream reads an archive, which may be compressed, once.
func Stream(name string, from io.ReadCloser, o Options) Source {
	return source{name: name, close: from.Close, read: func(ctx context.Context, take Take) (Set, error) {
		return o.stream(ctx, from, take)
	}}
}

func (o Options) stream(ctx context.Context, from io.Reader, take Take) (Set, error) {
	buffered := bufio.NewReaderSize(from, 128<<10)
	begin, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return Set{}, err
	}
	if len(begin) == 0 {
		return Set{}, errors.New("it is empty: what should have written an image did not")
	}
	plain, err := layers.Decompress(layers.Compression(begin), buffered)
	if err != nil {
		return Set{}, err
	}
	defer plain.Close()
	s, err := readStream(ctx, plain, take)
	if err == nil {
		err = readTrailer(buffered)
	}
	if err != nil {
		return Set{}, err
	}
	return o.read(s)
}

// Script runs an executable that writes an archive to its standard output, as
// streamLayeredImage of nixpkgs makes them. Nothing is known of the images before
// the program has ended well.
func Script(name string, o Options) Source {
	return source{name: name, close: func() error { return nil }, read: func(ctx context.Context, take Take) (Set, error) {
		program, err := filepath.Abs(name)
		if err != nil {
			return Set{}, err
		}
		out, err := run.Command{Name: program, Env: run.Environ(run.Common), Stderr: o.Said}.Stream(ctx)
		if err != nil {
			return Set{}, err
		}
		defer out.Close()
		set, err := o.stream(ctx, out, take)
		return set, complaint(err)
	}}
}

// complaint is an error with what a program said at its end, if it was one's.
func complaint(err error) error {
	var ended *run.Error
	if errors.As(err, &ended) && ended.Stderr != "" {
		return fmt.Errorf("%w: %s", err, said.End(ended.Stderr, said.Most))
	}
	return err
}
