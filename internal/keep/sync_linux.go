package keep

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncDisk waits until all that was written to the file system of f is on its disk.
func syncDisk(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
