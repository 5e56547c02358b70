package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Limits of what is read into memory, and of what a stream may go on with.
const (
	maxDocument  = 16 << 20  // one manifest or configuration
	maxDocuments = 64 << 20  // all that a stream has
	maxMembers   = 100_000   // of an archive
	maxNames     = 32 << 20  // of all members together, and of what links lead to
	maxLayer     = 256 << 30 // of a stream
	maxTrailer   = 16 << 20  // behind the end of an archive
	maxLinks     = 16        // from one member to the next
)

// members are what an archive or a layout has, by their names in it.
type members interface {
	// document returns a small member, or an error that is fs.ErrNotExist.
	document(name string) ([]byte, error)

	// layer returns how a member is opened. Taken is set instead for one that
	// could be read but once.
	layer(name string) (open opener, taken *Taken, err error)
}

type opener = func(context.Context) (io.ReadCloser, error)

// memberError says which member an error is about.
func memberError(name string, err error) error {
	return fmt.Errorf("%s: %w", member(name), err)
}

func member(name string) string { return fmt.Sprintf("member %q", said.Line(name)) }

var errAbsent = fmt.Errorf("the archive does not have it: %w", fs.ErrNotExist)

// clean returns the name of a member as others refer to it.
func clean(name string) (string, error) {
	cleaned := path.Clean(name)
	if !filepath.IsLocal(cleaned) {
		return "", memberError(name, fmt.Errorf("its name leads out of the archive"))
	}
	return cleaned, nil
}

// headers are those of an archive's members.
type headers struct {
	*tar.Reader
	n     int
	names int // bytes of them
	last  string
}

func (r *headers) next() (*tar.Header, error) {
	h, err := r.Next()
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err != nil && r.n > 0:
		return nil, fmt.Errorf("%s, or behind it: %w", member(r.last), err)
	case err != nil:
		return nil, err
	case r.n >= maxMembers:
		return nil, fmt.Errorf("there are more than %d members", maxMembers)
	case h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "":
		return nil, memberError(h.Name, errors.New("a sparse file, which no image has"))
	}
	if r.names += len(h.Name) + len(h.Linkname); r.names > maxNames {
		return nil, fmt.Errorf("the names of its members have more than %d bytes", maxNames)
	}
	r.n++
	r.last = h.Name
	return h, nil
}

// links are the members that stand for others.
type links map[string]string

// add notes a link. The target of a symbolic link is relative to where it lies.
func (l links) add(name, target string, symbolic bool) error {
	if symbolic {
		target = path.Join(path.Dir(name), target)
	}
	to, err := clean(target)
	if err != nil {
		return memberError(name, fmt.Errorf("a link to %w", err))
	}
	l[name] = to
	return nil
}

// follow returns the member that a name leads to.
func (l links) follow(name string) (string, error) {
	for range maxLinks {
		to, ok := l[name]
		if !ok {
			return name, nil
		}
		name = to
	}
	return "", memberError(name, fmt.Errorf("links go round in a circle"))
}

// layerNames is how makers name layers: by a digest, or as an archive.
var layerNames = regexp.MustCompile(`(?:^|/)[0-9a-f]{64}(?:[./]|$)|\.(?:tar|tgz)(?:\.[a-z0-9]+)?$`)

var hexName = regexp.MustCompile(`(?:^|/)([0-9a-f]{64})(?:[./]|$)`)

// guess returns the digest that a member's name gives it.
func guess(name string) v1.Hash {
	m := hexName.FindStringSubmatch(name)
	if m == nil {
		return v1.Hash{}
	}
	return v1.Hash{Algorithm: "sha256", Hex: m[1]}
}
