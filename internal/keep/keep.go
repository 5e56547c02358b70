// Package keep keeps closures of store paths unpacked below a folder, so that
// their programs can be run where there is no Nix.
//
// A closure is there as a whole or not at all: it is unpacked under another name
// and gets its own by a rename. Each time it is taken it is held against a
// listing of what was unpacked, and made anew if anything differs.
package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
)

// Source has the store objects. What Info says is trusted; a NAR is held against it.
type Source interface {
	closure.Infos
	NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error)
}

// Folder is where closures are kept. Several processes may use one at the same time.
type Folder struct {
	Dir      string
	Source   Source
	Most     int64 // bytes of a closure's NARs; one that has more is refused
	Progress progress.Progress
}

// Closure is a closure that is unpacked: its store objects are in the folder Store.
type Closure struct {
	Root    nix.StorePath
	Store   string
	Damage  error // of the one that it was made in place of; nil if there was none
	Fetched int64 // bytes of NARs that were unpacked; 0 for one that was there
}

const (
	storeName   = "store"
	listingName = "listing"
	partPrefix  = "part-" // of a closure that is being unpacked
	deadPrefix  = "dead-" // of one that is only there for who still uses it
	lockSuffix  = ".lock"
)

// Take returns the closure of root, which it fetches unless it is there and as it
// was unpacked. The closure stays until release is called, or the process ends.
func (f Folder) Take(ctx context.Context, root nix.StorePath, label string) (c Closure, release func(), err error) {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return Closure{}, nil, err
	}
	kept := filepath.Join(f.Dir, root.Base())
	c = Closure{Root: root, Store: filepath.Join(kept, storeName)}
	release, err = use(ctx, kept)
	if err == nil {
		return c, release, nil
	}
	// One process unpacks, and those that want the same wait for it.
	making, err := lock(ctx, kept+lockSuffix, unix.LOCK_EX, true)
	if err != nil {
		return Closure{}, nil, err
	}
	defer making.Close()
	if release, err = use(ctx, kept); err == nil {
		return c, release, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.Damage = err
	}
	if c.Fetched, err = f.unpack(ctx, root, kept, label); err != nil {
		return Closure{}, nil, err
	}
	release, err = use(ctx, kept)
	return c, release, err
}

// use locks a closure that is complete and undamaged.
func use(ctx context.Context, kept string) (release func(), err error) {
	held, err := lock(ctx, kept, unix.LOCK_SH, false)
	if err != nil {
		return nil, err
	}
	if err := undamaged(kept); err != nil {
		held.Close()
		return nil, err
	}
	now := time.Now()
	os.Chtimes(kept, now, now) // for Sweep; what it cannot tell it removes, and it is fetched again
	return func() { held.Close() }, nil
}

// unpack makes the folder kept, in place of one that is damaged.
func (f Folder) unpack(ctx context.Context, root nix.StorePath, kept, label string) (int64, error) {
	closed, err := closure.Compute(ctx, f.Source, []nix.StorePath{root})
	if err != nil {
		return 0, err
	}
	size := closure.Size(closed)
	if size > f.Most {
		return 0, fmt.Errorf("%s: its closure has %d bytes, more than %d", root.Base(), size, f.Most)
	}
	if err := room(f.Dir, size); err != nil {
		return 0, fmt.Errorf("%s: %w", root.Base(), err)
	}
	part, err := os.MkdirTemp(f.Dir, partPrefix+"*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(part) // nothing is there of it once it has its name
	held, err := lock(ctx, part, unix.LOCK_EX, false)
	if err != nil {
		return 0, err
	}
	defer held.Close()
	if err := f.objects(ctx, closed, filepath.Join(part, storeName), label); err != nil {
		return 0, err
	}
	listing, err := list(filepath.Join(part, storeName))
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(part, listingName), listing, 0o444); err != nil {
		return 0, err
	}
	// What has its name is on the disk, whenever the machine stops.
	if err := syncDisk(held); err != nil {
		return 0, fmt.Errorf("%s: %w", part, err)
	}
	// Who uses the one that is damaged keeps it until then.
	if dead, err := aside(kept); err == nil {
		removeUnused(dead) // else Sweep does
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return size, os.Rename(part, kept)
}

// room tells whether a closure fits on the disk. Its files take up more than its
// NARs have bytes, as each takes whole blocks.
func room(dir string, size int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	want, free := size+size/4+64<<20, int64(disk.Bavail)*int64(disk.Bsize)
	if free < want {
		return fmt.Errorf("%s has room for %d MiB, %d MiB are needed", dir, free>>20, want>>20)
	}
	return nil
}

// Kept lists the closures that are there.
func (f Folder) Kept() []nix.StorePath {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return nil
	}
	var roots []nix.StorePath
	for _, entry := range entries {
		if p, err := nix.ParseStorePathBase(entry.Name()); err == nil && entry.IsDir() {
			roots = append(roots, p)
		}
	}
	return roots
}
