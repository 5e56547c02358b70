package archive

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	maxName  = 4 << 10 // of a file, after rewriting
	maxFiles = 1 << 20 // of one layer
)

// storeTar is a layer that is made of store paths, entry by entry as nix2container
// makes it, so that it has the diffID that nix2container has computed.
type storeTar struct {
	root    string
	objects []object
	crowd   crowd
}

// crowd has one layer of many files listed at a time: the names of a million
// files take some 200 MB until the layer is written.
type crowd struct {
	many int           // files that a layer may have beside others
	turn chan struct{} // of capacity 1: whoever has put something in has more
}

// everybody is the crowd of all layers, for they share the memory.
var everybody = crowd{many: 100_000, turn: make(chan struct{}, 1)}

// object is a store path, and what its files are to be in the image.
type object struct {
	path    nix.StorePath
	rewrite *regexp.Regexp // of names in the image, which repl replaces; nil: none
	repl    string
	ignore  *regexp.Regexp // files of such names in the image are left out, and what is below them; nil: none
	rules   []rule         // in order; the last that matches wins
}

// rule says whose a file is, by its name in the store, and what may be done with it.
type rule struct {
	match        *regexp.Regexp
	uid, gid     int
	uname, gname string // "": as before
	keep, add    int64  // bits of the mode
}

func (t storeTar) open(ctx context.Context) (io.ReadCloser, error) {
	store, err := openStore(t.root)
	if err != nil {
		return nil, err
	}
	l := &listing{files: make(map[string]entry), crowd: t.crowd}
	if err := l.add(ctx, store, t.objects); err != nil {
		l.close()
		store.Close()
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer store.Close()
		defer l.close()
		w.CloseWithError(write(ctx, w, store, l.files))
	}()
	return &piped{r, done}, nil
}

// piped is what a goroutine writes. Closing it ends the goroutine.
type piped struct {
	*io.PipeReader
	done <-chan struct{}
}

func (p *piped) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// entry is a file, a folder or a link of the layer. There may be a million.
type entry struct {
	source string // name in the store; "": a folder that no store path has
	of     *object
	size   int64
	mode   fs.FileMode
}

// listing has what is in the layer by its names in it.
type listing struct {
	files map[string]entry
	crowd crowd
	holds bool // the turn
}

func (l *listing) add(ctx context.Context, store *os.Root, objects []object) error {
	for i := range objects {
		if err := l.placeAll(ctx, store, &objects[i]); err != nil {
			return err
		}
	}
	return nil
}

// close lets others have their turn.
func (l *listing) close() {
	if l.holds {
		l.files, l.holds = nil, false
		<-l.crowd.turn
	}
}

// room waits for the turn, if there are many files.
func (l *listing) room(ctx context.Context) error {
	switch {
	case len(l.files) > maxFiles:
		return fmt.Errorf("more than %d files", maxFiles)
	case l.holds || len(l.files) <= l.crowd.many:
		return nil
	}
	select {
	case l.crowd.turn <- struct{}{}:
		l.holds = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *listing) placeAll(ctx context.Context, store *os.Root, o *object) error {
	info, err := store.Lstat(o.path.Base())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in the store: build the image again", o.path)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() { // WalkDir would follow a link
		if err := l.place(o, o.path.Base(), fs.FileInfoToDirEntry(info)); err != nil {
			return err
		}
		return l.room(ctx)
	}
	return fs.WalkDir(store.FS(), o.path.Base(), func(source string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = l.place(o, source, d)
		}
		if err != nil {
			return err
		}
		return l.room(ctx)
	})
}

// place puts a file into the layer, and the folders above it.
func (l *listing) place(o *object, source string, d fs.DirEntry) error {
	full := nix.StoreDir + "/" + source
	source = full[len(nix.StoreDir)+1:] // which is mostly part of the name: one text for both
	name, err := o.name(full)
	if err != nil || name == "" {
		return err
	}
	if o.ignore != nil && o.ignore.MatchString(name) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	e := entry{source, o, info.Size(), info.Mode()}
	switch before, twice := l.files[name]; {
	case e.mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0:
		return fmt.Errorf("%s is neither a file nor a folder nor a link", full)
	case twice && before.source != "" && (before.mode != e.mode || e.mode.IsRegular() && before.size != e.size):
		return fmt.Errorf("%s and %s are to be %q, and differ", nix.StoreDir+"/"+before.source, full, name)
	}
	l.files[name] = e
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if _, there := l.files[above]; there {
			break
		}
		l.files[above] = entry{mode: fs.ModeDir | 0o755}
	}
	return nil
}

// name returns a file's name in the image, or "" if it is not to be there.
func (o object) name(full string) (string, error) {
	name := full
	if o.rewrite != nil {
		if name = o.rewrite.ReplaceAllString(full, o.repl); name == "" {
			return "", nil
		}
	}
	switch name = path.Clean(name); {
	case len(name) > maxName:
		return "", fmt.Errorf("%s: its name in the image has %d bytes (at most %d)", full, len(name), maxName)
	case name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "\x00"):
		return "", fmt.Errorf("%s: %q cannot be its name in the image", full, name)
	}
	return name, nil
}

// write writes the archive of a layer, each folder before what is in it.
func write(ctx context.Context, w io.Writer, store *os.Root, files map[string]entry) error {
	archive := tar.NewWriter(w)
	for _, name := range slices.SortedFunc(maps.Keys(files), byFolder) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := files[name].write(archive, store, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return archive.Close()
}

// byFolder orders names bytewise in each folder, with the folder first.
func byFolder(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

func (e entry) rules() []rule {
	if e.of == nil {
		return nil
	}
	return e.of.rules
}

func (e entry) write(archive *tar.Writer, store *os.Root, name string) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: "root", Gname: "root", ModTime: time.Unix(1, 0), Mode: int64(e.mode.Perm())}
	var err error
	switch {
	case e.mode.IsDir():
		h.Typeflag = tar.TypeDir
	case e.mode.IsRegular():
		h.Size = e.size
	default:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = store.Readlink(e.source); err != nil {
			return err
		}
	}
	for _, r := range e.rules() {
		if r.match.MatchString(nix.StoreDir + "/" + e.source) {
			h.Uid, h.Gid, h.Mode = r.uid, r.gid, h.Mode&r.keep|r.add
			h.Uname, h.Gname = cmp.Or(r.uname, h.Uname), cmp.Or(r.gname, h.Gname)
		}
	}
	if err := archive.WriteHeader(&h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	return copyFile(archive, store, e.source, e.size)
}

func copyFile(w io.Writer, store *os.Root, name string, size int64) error {
	f, err := store.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, io.LimitReader(f, size))
	if err == nil && n < size {
		err = fmt.Errorf("has become shorter: %d of %d bytes", n, size)
	}
	return err
}

// storeFile is a file of the store.
type storeFile struct{ root, name string }

func (f storeFile) open(context.Context) (io.ReadCloser, error) {
	store, err := openStore(f.root)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.Open(f.name)
}

// openStore opens the store folder. No link in it leads out of it from here.
func openStore(root string) (*os.Root, error) {
	return os.OpenRoot(filepath.Join("/", root, nix.StoreDir))
}
