package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SharedMemory is the file system in memory that Linux machines have, and most
// containers: Docker gives them 64 MiB unless --shm-size says more.
const SharedMemory = "/dev/shm"

// ErrNoRoom says that there is no file system in memory, or that what is to be
// written would take more of it, or of the memory itself, than may be taken.
var ErrNoRoom = errors.New("no room in memory")

// Need is what files take.
type Need struct {
	Bytes int64 // of memory, with what each file takes besides its contents
	Files int64 // and folders
}

// room is what a file system in memory leaves.
type room struct {
	bytes  int64 // in the file system
	files  int64
	memory int64 // bytes of memory that may be taken without anything being swapped or killed
}

// fits leaves others half of the file system, and whoever runs here three
// quarters of the memory: for an evaluation above all.
func (r room) fits(n Need) bool {
	return n.Bytes <= r.bytes/2 && n.Files <= r.files/2 && n.Bytes <= r.memory/4
}

// MakeInMemory makes a folder as Make does, below a file system in memory. The error
// wraps ErrNoRoom where that is not there or has no ample room.
func MakeInMemory(ctx context.Context, mount string, need Need) (name string, release func() error, err error) {
	left, err := roomOf(mount)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	if !left.fits(need) {
		return "", nil, fmt.Errorf("%w: %d MiB are wanted, %s has %d MiB, and %d MiB of memory are free",
			ErrNoRoom, need.Bytes>>20, mount, left.bytes>>20, left.memory>>20)
	}
	dir := ownBelow(mount)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	if err := trusted(dir); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return Make(ctx, dir)
}

// SweepMemory removes what Sweep would, and MakeInMemory has made. No mount is no work.
func SweepMemory(ctx context.Context, mount string) error {
	if mount == "" {
		return nil
	}
	dir := ownBelow(mount)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := trusted(dir); err != nil {
		return err
	}
	return Sweep(ctx, dir)
}

// ownBelow names the folder of the user who runs this.
func ownBelow(mount string) string {
	return filepath.Join(mount, fmt.Sprintf("factory-%d", os.Geteuid()))
}
