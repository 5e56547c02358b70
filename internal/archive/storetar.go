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
}

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
	files, err := t.files(ctx, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer store.Close()
		w.CloseWithError(write(ctx, w, store, files))
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

// entry is a file, a folder or a link of the layer.
type entry struct {
	source string // name in the store; "": a folder that no store path has
	mode   fs.FileMode
	size   int64
	rules  []rule
}

// files returns what is in the layer by its names in it.
func (t storeTar) files(ctx context.Context, store *os.Root) (map[string]entry, error) {
	files := make(map[string]entry)
	for _, o := range t.objects {
		if err := o.placeAll(ctx, files, store); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (o object) placeAll(ctx context.Context, files map[string]entry, store *os.Root) error {
	info, err := store.Lstat(o.path.Base())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in the store: build the image again", o.path)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() { // WalkDir would follow a link
		return o.place(files, o.path.Base(), fs.FileInfoToDirEntry(info))
	}
	return fs.WalkDir(store.FS(), o.path.Base(), func(source string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		return o.place(files, source, d)
	})
}

// place puts a file into the layer, and the folders above it.
func (o object) place(files map[string]entry, source string, d fs.DirEntry) error {
	full := nix.StoreDir + "/" + source
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
	e := entry{source, info.Mode(), info.Size(), o.rules}
	switch before, twice := files[name]; {
	case e.mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0:
		return fmt.Errorf("%s is neither a file nor a folder nor a link", full)
	case twice && before.source != "" && (before.mode != e.mode || e.mode.IsRegular() && before.size != e.size):
		return fmt.Errorf("%s and %s are to be %q, and differ", nix.StoreDir+"/"+before.source, full, name)
	}
	files[name] = e
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if _, there := files[above]; there {
			break
		}
		files[above] = entry{mode: fs.ModeDir | 0o755}
	}
	if len(files) > maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
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
	for _, r := range e.rules {
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
