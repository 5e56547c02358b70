package verify

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// object is a store object as its files are.
type object struct {
	path    nix.StorePath
	narHash nix.Hash
	narSize int64
	err     error // why there is no hash

	// Of what may be nixpkgs: git's id of it, or why it has none, and its version.
	tree    git.TreeID
	treeErr error
	version string
}

// expected is what is known of a store object before its files are read.
type expected struct {
	path   nix.StorePath
	most   int64    // bytes of its NAR, as somebody says
	source bool     // it is said to be nixpkgs
	wanted []string // what links lead to, below it; sorted
}

// walker reads the layers that hold store objects.
type walker struct {
	known   map[string]*expected
	scan    *scan
	folders []string // of "nix" and "nix/store" those that were there
	at      *stream
	before  map[string]*stream // objects of this layer that are complete, by base name
}

// visit takes an entry in.
func (w *walker) visit(h *tar.Header, content io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	if h.Uid != 0 || h.Gid != 0 {
		w.scan.files.add("%q: belongs to %d:%d, not to root", h.Name, h.Uid, h.Gid)
	}
	if name == "nix" || name == "nix/store" {
		return w.folder(h, name)
	}
	rest, ok := strings.CutPrefix(name, "nix/store/")
	if !ok {
		w.scan.files.add("%q: not in the store, in a layer of store objects", h.Name)
		return nil
	}
	base, below, _ := strings.Cut(rest, "/")
	if w.at == nil || w.at.base != base {
		if err := w.begin(base); err != nil {
			return err
		}
	}
	if w.at.known == nil {
		return nil
	}
	w.scan.mark(w.at, h, below)
	if w.at.err == nil {
		w.at.err = w.at.add(h, below, content)
	}
	return nil
}

// folder takes one of the folders above store objects in.
func (w *walker) folder(h *tar.Header, name string) error {
	w.folders = append(w.folders, name)
	if want := []string{"nix", "nix/store"}; len(w.folders) > 2 || name != want[len(w.folders)-1] || w.at != nil || h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%q: not the folder above the store objects", h.Name)
	}
	if h.Mode != 0o755 {
		w.scan.files.add("%q: mode %o, want 755", h.Name, h.Mode)
	}
	return nil
}

// begin begins a store object.
func (w *walker) begin(base string) error {
	w.end()
	if len(w.folders) != 2 {
		return fmt.Errorf("%.200q: the folders above it are not there", base)
	}
	w.at = &stream{base: base, known: w.known[base], before: w.before, sum: sha256.New(), shape: sha256.New()}
	if w.at.known == nil {
		w.scan.files.add("%q is in a layer, and no image knows it", base)
		return nil
	}
	if w.before[base] != nil {
		w.at.err = errors.New("its files are not in one place of the layer")
		return nil
	}
	w.at.nar = nar.NewWriter(io.MultiWriter(w.at.sum, &w.at.size))
	if w.at.known.source {
		w.at.tree = &gitTree{}
	}
	return nil
}

// end completes the store object at hand.
func (w *walker) end() {
	if w.at == nil || w.at.known == nil {
		w.at = nil
		return
	}
	w.at.close()
	w.scan.objects = append(w.scan.objects, w.at.object())
	if w.before == nil {
		w.before = make(map[string]*stream)
	}
	w.at.nar, w.at.buf = nil, nil
	w.before[w.at.base] = w.at
	w.at = nil
}

// mark notes what links lead to, and the links on the way there.
func (s *scan) mark(at *stream, h *tar.Header, below string) {
	wanted := at.known.wanted
	_, exact := slices.BinarySearch(wanted, below)
	if !exact && h.Typeflag == tar.TypeSymlink {
		place, _ := slices.BinarySearch(wanted, below+"/")
		exact = place < len(wanted) && strings.HasPrefix(wanted[place], below+"/")
	}
	if exact {
		if s.found == nil {
			s.found = make(map[string]bool)
		}
		s.found[at.base+"/"+below] = true
	}
}

// stream computes what is known of a store object while its files pass by.
type stream struct {
	base   string
	known  *expected
	before map[string]*stream
	err    error

	nar   *nar.Writer
	sum   hash.Hash
	size  size
	tree  *gitTree // nil: not wanted
	buf   []byte
	files bool // there are some that are no hard links

	entries int

	// shape is of names, kinds, modes and link targets: two objects of one shape whose
	// files are the same are the same.
	shape  hash.Hash
	copyOf *stream

	narHash nix.Hash
	version strings.Builder
}

// size counts bytes.
type size int64

func (n *size) Write(p []byte) (int, error) {
	*n += size(len(p))
	return len(p), nil
}

// add takes an entry in.
func (s *stream) add(h *tar.Header, below string, content io.Reader) error {
	e := nar.Entry{Path: below, Size: h.Size, Target: h.Linkname, Executable: h.Mode&0o111 != 0}
	want := []int64{0o444, 0o555}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Kind, want, e.Target = nar.Directory, want[1:], ""
	case tar.TypeSymlink:
		e.Kind, want = nar.Symlink, []int64{0o777}
	default:
		e.Kind, e.Target = nar.Regular, ""
	}
	if h.Mode != want[0] && h.Mode != want[len(want)-1] {
		return fmt.Errorf("%q: mode %o, which nothing in a store has", below, h.Mode)
	}
	fmt.Fprintf(s.shape, "%q %d %t %q\n", e.Path, e.Kind, e.Executable && e.Kind == nar.Regular, e.Target)
	if h.Typeflag == tar.TypeLink {
		return s.hardLink(h.Linkname, below)
	}
	if e.Kind == nar.Regular {
		s.files = true
	}
	if s.entries++; s.tree != nil && s.entries > maxSource {
		return fmt.Errorf("more than %d files", maxSource)
	}
	if s.copyOf != nil {
		if s.files {
			return fmt.Errorf("%q: a file of its own in a copy of %s", below, s.copyOf.base)
		}
		return nil
	}
	return s.write(e, content)
}

// write writes an entry into the NAR.
func (s *stream) write(e nar.Entry, content io.Reader) error {
	if e.Size > s.known.most-int64(s.size) {
		return fmt.Errorf("%q: larger than the %d bytes that the whole object has", e.Path, s.known.most)
	}
	if err := s.nar.WriteEntry(e); err != nil {
		return err
	}
	if int64(s.size) > s.known.most {
		return fmt.Errorf("%q: the object is larger than %d bytes", e.Path, s.known.most)
	}
	blob, err := s.content(e, content)
	if err == nil && s.tree != nil {
		s.tree.add(e, blob)
	}
	return err
}

// versionFile is where nixpkgs says its version, and maxVersion what is read of it.
const (
	versionFile = "lib/.version"
	maxVersion  = 1 << 10
)

// maxSource bounds the entries of what may be nixpkgs, which has some 80,000.
const maxSource = 400_000

// content copies a file into the NAR, and computes git's id of it where that is wanted.
func (s *stream) content(e nar.Entry, content io.Reader) (id git.ObjectID, err error) {
	switch {
	case e.Kind != nar.Regular:
		return id, nil
	case s.tree == nil:
		return id, s.copyTo(s.nar, content)
	}
	blob := git.NewBlob(e.Size)
	to := io.MultiWriter(s.nar, blob)
	if e.Path == versionFile && e.Size <= maxVersion {
		to = io.MultiWriter(to, &s.version)
	}
	err = s.copyTo(to, content)
	return git.ObjectID(blob.Sum(nil)), err
}

func (s *stream) copyTo(to io.Writer, content io.Reader) error {
	if s.buf == nil {
		s.buf = make([]byte, 128<<10)
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{content}, s.buf)
	return err
}

// hardLink takes a file in that is the same as one of an object before, under the
// same name: such objects are copies of each other.
func (s *stream) hardLink(target, below string) error {
	base, there, _ := strings.Cut(strings.TrimPrefix(target, "nix/store/"), "/")
	first := s.before[base]
	switch {
	case !strings.HasPrefix(target, "nix/store/") || first == nil || there != below:
		return fmt.Errorf("%q: a hard link to %.200q, which is not the same file of an object before", below, target)
	case s.files || s.copyOf != nil && s.copyOf != first:
		return fmt.Errorf("%q: a hard link in what is no copy of %s", below, base)
	}
	s.copyOf = first
	return nil
}

// close computes the hash when all entries have passed by.
func (s *stream) close() {
	switch {
	case s.err != nil:
	case s.copyOf == nil:
		if s.err = s.nar.Close(); s.err == nil {
			s.narHash = nix.Hash(s.sum.Sum(nil))
		}
	case s.copyOf.err != nil:
		s.err = fmt.Errorf("a copy of %s, which has no hash", s.copyOf.base)
	case string(s.shape.Sum(nil)) != string(s.copyOf.shape.Sum(nil)):
		s.err = fmt.Errorf("not the same files as in %s, to which it has hard links", s.copyOf.base)
	default:
		s.narHash, s.size = s.copyOf.narHash, s.copyOf.size
	}
}

func (s *stream) object() object {
	o := object{path: s.known.path, narHash: s.narHash, narSize: int64(s.size), err: s.err}
	from := s
	if s.copyOf != nil {
		from = s.copyOf
	}
	if s.err == nil && from.tree != nil {
		o.tree, o.treeErr = from.tree.id()
		o.version = strings.TrimSpace(from.version.String())
	}
	return o
}
