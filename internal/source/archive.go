package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// maxNames bounds the bytes of all names and targets together, which are held in memory.
// nixpkgs has about one megabyte.
const maxNames = 64 << 20

// builder makes a tree of the members of an archive, in their order and as unpacking them one after the other would.
type builder struct {
	limits  Limits
	early   Early
	spool   *spool
	ahead   *ahead // hashes the tree as it grows
	top     *node  // the folder that the archive would be unpacked into
	links   []pendingLink
	entries int   // members and implied directories
	names   int64 // bytes of names and targets
	comment string

	member []string  // names of the current member
	dirs   []*node   // the directories that lead to it, once parents has found them
	blob   hash.Hash // of the current file, as git has it
}

// newBuilder begins with an empty tree. The builder's ahead must be stopped.
func newBuilder(ctx context.Context, s *spool, limits Limits, early Early) *builder {
	top := &node{kind: nar.Directory}
	return &builder{
		limits: limits, early: early, spool: s, top: top, blob: git.NewBlob(0),
		ahead: newAhead(ctx, top, s, limits.Unpacked),
	}
}

// readMembers reads all members, and the stream to its end.
func (b *builder) readMembers(stream *tarStream) error {
	tr := tar.NewReader(stream)
	last := ""
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("%s: %w", after(last), truncated(err))
		}
		if err := b.add(hdr, tr); err != nil {
			return fmt.Errorf("member %q: %w", brief(hdr.Name), truncated(err))
		}
		last = hdr.Name
		b.ahead.follow(b.spool.written)
	}
	if stream.ended {
		return fmt.Errorf("%s: archive is truncated: no end-of-archive marker: %w", after(last), io.ErrUnexpectedEOF)
	}
	if err := expectZeros(stream); err != nil {
		return err
	}
	if err := b.spool.seal(); err != nil {
		return err
	}
	b.ahead.end(b.spool)
	return nil
}

// after says where in an archive an error is: behind a member, if there was one.
func after(member string) string {
	if member == "" {
		return "at the start"
	}
	return fmt.Sprintf("after member %q", brief(member))
}

// brief is a name that leaves room for what is wrong with it.
func brief(name string) string {
	const most = 120
	if len(name) > most {
		return name[:most] + "…"
	}
	return name
}

func truncated(err error) error {
	if err == io.ErrUnexpectedEOF {
		return fmt.Errorf("archive is truncated: %w", err)
	}
	return err
}

// expectZeros reads what follows the end-of-archive marker: padding.
// Reading it is also what has the checksum of the compressed stream verified.
func expectZeros(r io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return errors.New("data after the end of the archive")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// add puts one member into the tree.
func (b *builder) add(hdr *tar.Header, content io.Reader) error {
	if err := b.charge(1, len(hdr.Linkname)); err != nil {
		return err
	}
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return b.addGlobal(hdr.PAXRecords)
	}
	names, err := splitName(b.member[:0], hdr.Name)
	if err != nil {
		return err
	}
	b.member = names
	isDir := hdr.Typeflag == tar.TypeDir || isFile(hdr) && hdr.Size == 0 && strings.HasSuffix(hdr.Name, "/")
	if len(names) == 0 && isDir {
		return nil
	}
	if len(names) == 0 || !isDir && strings.HasSuffix(hdr.Name, "/") {
		return errors.New("has the name of a directory, and is not one")
	}
	dirs, err := b.parents(names)
	if err != nil {
		return err
	}
	name := strings.Clone(names[len(names)-1])
	if isDir {
		return b.place(dirs, &node{name: name, kind: nar.Directory})
	}
	take := func() {}
	if b.isEarly(names, hdr) {
		content, take = b.keepEarly(content)
	}
	n, err := b.leaf(name, hdr, content)
	if err != nil {
		return err
	}
	take()
	return b.place(dirs, n)
}

// isEarly tells whether a member is the file that is wanted early.
func (b *builder) isEarly(names []string, hdr *tar.Header) bool {
	return b.early.Take != nil && hdr.Typeflag == tar.TypeReg && hdr.Size <= b.early.Most && strings.Join(names[1:], "/") == b.early.Path
}

// keepEarly returns contents to be read in place of others, and what hands them on once they are read.
func (b *builder) keepEarly(content io.Reader) (io.Reader, func()) {
	var kept bytes.Buffer
	return io.TeeReader(content, &kept), func() { b.early.Take(kept.Bytes()) }
}

// leaf makes a node of a member that is no directory.
func (b *builder) leaf(name string, hdr *tar.Header, content io.Reader) (*node, error) {
	switch {
	case isFile(hdr):
		f, err := b.readFile(hdr, content)
		return &node{name: name, kind: nar.Regular, file: f}, err
	case hdr.Typeflag == tar.TypeSymlink:
		if n := len(hdr.Linkname); n == 0 || n > maxTarget {
			return nil, fmt.Errorf("link target of %d bytes (want 1 to %d)", n, maxTarget)
		}
		return &node{name: name, kind: nar.Symlink, target: strings.Clone(hdr.Linkname)}, nil
	case hdr.Typeflag == tar.TypeLink:
		return b.hardLink(name, hdr)
	}
	return nil, fmt.Errorf("neither file, directory nor link (type %q)", hdr.Typeflag)
}

func isFile(hdr *tar.Header) bool {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return true
	}
	return false
}

func (b *builder) readFile(hdr *tar.Header, content io.Reader) (*file, error) {
	if hdr.Size > b.limits.Unpacked-b.spool.size {
		return nil, fmt.Errorf("size %d exceeds the limit of %d bytes for all files", hdr.Size, b.limits.Unpacked)
	}
	git.BeginBlob(b.blob, hdr.Size)
	offset, err := b.spool.add(content, hdr.Size, b.blob)
	if err != nil {
		return nil, err
	}
	f := &file{offset: offset, size: hdr.Size, executable: hdr.Mode&0o100 != 0}
	b.blob.Sum(f.blob[:0])
	return f, nil
}

// addGlobal takes note of the header that git archive begins with.
// Whatever else such a header may say applies to all members for some readers and to none for others.
func (b *builder) addGlobal(records map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		switch key {
		case "comment":
			b.comment = records[key]
		case "path", "linkpath", "size":
			return fmt.Errorf("global header sets %q for all members", key)
		}
	}
	return nil
}

// charge counts entries and bytes of names against the limits.
func (b *builder) charge(entries, names int) error {
	b.entries += entries
	b.names += int64(names)
	if b.entries > b.limits.Files {
		return fmt.Errorf("archive has more than %d entries", b.limits.Files)
	}
	if b.names > maxNames {
		return fmt.Errorf("names and link targets in the archive are longer than %d bytes together", maxNames)
	}
	return nil
}
