package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// streamed is an archive that was read from its beginning to its end.
type streamed struct {
	documents map[string][]byte
	kept      int // bytes of them
	taken     map[string]Taken
	passed    map[string]bool // that nothing is kept of
	links     links
	buffer    *bufio.Reader // for one member after the other: there may be very many
}

// readStream reads an archive once. What may be a document is kept, what makers
// name as they name layers is given to take: which of them the image wants, it may
// say at its end. Whatever else is in the archive is nobody's to have.
func readStream(ctx context.Context, from io.Reader, take Take) (*streamed, error) {
	s := &streamed{documents: map[string][]byte{}, taken: map[string]Taken{}, passed: map[string]bool{}, links: links{}, buffer: bufio.NewReaderSize(nil, 128<<10)}
	headers := headers{Reader: tar.NewReader(from)}
	for {
		h, err := headers.next()
		if err == io.EOF {
			return s, readTrailer(from)
		}
		if err == nil {
			err = s.member(ctx, h, headers, take)
		}
		if err != nil {
			return nil, err
		}
	}
}

// readTrailer reads to the end, for how a program ended and whether a
// decompressor is content shows there only.
func readTrailer(from io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(from, maxTrailer+1))
	if err == nil && n > maxTrailer {
		return fmt.Errorf("it goes on behind the end of the archive")
	}
	return err
}

func (s *streamed) member(ctx context.Context, h *tar.Header, content io.Reader, take Take) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink, tar.TypeLink:
		return s.links.add(name, h.Linkname, h.Typeflag == tar.TypeSymlink)
	case tar.TypeReg:
		s.forget(name)
		return s.file(ctx, name, h.Size, content, take)
	}
	return nil
}

// forget makes room for another member of the same name: the last one counts.
func (s *streamed) forget(name string) {
	delete(s.links, name)
	delete(s.documents, name)
	delete(s.taken, name)
	delete(s.passed, name)
}

// tarBlock is the least that a tar archive has, and more than the magic number of
// anything needs.
const tarBlock = 512

func (s *streamed) file(ctx context.Context, name string, size int64, content io.Reader, take Take) error {
	r := s.buffer
	r.Reset(content)
	begin, err := r.Peek(int(min(size, tarBlock)))
	if err != nil {
		return memberError(name, err)
	}
	switch {
	case size > maxLayer:
		return memberError(name, fmt.Errorf("%d bytes are too many", size))
	case size <= maxDocument && isJSON(begin):
		return s.keep(name, size, r)
	case !compressed(begin) && size < tarBlock:
		return nil // of older makers, such as VERSION
	case !layerNames.MatchString(name):
		s.passed[name] = true
		return nil
	}
	taken, err := take(ctx, member(name), guess(name), r)
	if err != nil {
		return memberError(name, err)
	}
	s.taken[name] = taken
	return nil
}

func (s *streamed) keep(name string, size int64, r io.Reader) error {
	if s.kept += int(size); s.kept > maxDocuments {
		return memberError(name, fmt.Errorf("its documents have more than %d bytes", maxDocuments))
	}
	data, err := io.ReadAll(r)
	s.documents[name] = data
	return memberErrorIf(name, err)
}

func isJSON(begin []byte) bool {
	begin = bytes.TrimLeft(begin, " \t\r\n")
	return len(begin) > 0 && (begin[0] == '{' || begin[0] == '[')
}

func (s *streamed) document(name string) ([]byte, error) {
	to, err := s.links.follow(name)
	if err != nil {
		return nil, err
	}
	data, ok := s.documents[to]
	if !ok {
		return nil, memberError(name, errAbsent)
	}
	return data, nil
}

func (s *streamed) layer(name string) (opener, *Taken, error) {
	to, err := s.links.follow(name)
	if err != nil {
		return nil, nil, err
	}
	if taken, ok := s.taken[to]; ok {
		return nil, &taken, nil
	}
	data, ok := s.documents[to]
	switch {
	case s.passed[to]:
		return nil, nil, memberError(name, errors.New("in a stream the name of a layer has its digest in it, or ends in .tar or .tar.gz: push it from a file that is not compressed"))
	case !ok:
		return nil, nil, memberError(name, errAbsent)
	}
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, nil, nil
}
