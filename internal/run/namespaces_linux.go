package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What every program sees, where it is there: programs and libraries.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// Devices that programs expect.
var devices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// enter makes a root of what may be seen, in the mount namespace that we are
// alone in. dir, a folder that is to be seen or any other, is what the root is
// made on, and where the program starts.
func (n *Namespaces) enter(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, old), 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(dir, filepath.Join(dir, old)); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := n.furnish(); err != nil {
		return err
	}
	if err := unix.Unmount("/"+old, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	if err := os.Remove("/" + old); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	return dropCapabilities()
}

const old = ".old"

func (n *Namespaces) furnish() error {
	if err := n.showPrograms(); err != nil {
		return err
	}
	for _, path := range n.Read {
		if err := show(path, true); err != nil {
			return err
		}
	}
	for _, path := range n.Write {
		if err := show(path, false); err != nil {
			return err
		}
	}
	for _, path := range devices {
		if err := show(path, false); err != nil {
			return err
		}
	}
	if err := os.MkdirAll("/proc", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	return nil
}

// showPrograms shows those of the system, or those of a store of the caller's.
func (n *Namespaces) showPrograms() error {
	if n.Store == "" {
		for _, path := range system {
			if err := show(path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	objects, err := os.ReadDir("/" + old + n.Store)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/nix/store", 0o755); err != nil { // the first object may be a link
		return err
	}
	for _, object := range objects {
		if err := showAt(filepath.Join(n.Store, object.Name()), "/nix/store/"+object.Name(), true); err != nil {
			return err
		}
	}
	return nil
}

// show makes a folder or file of the old root appear in the new one.
func show(path string, readOnly bool) error { return showAt(path, path, readOnly) }

// showAt makes it appear in another place.
func showAt(source, path string, readOnly bool) error {
	from := "/" + old + source
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, path) // as /bin, to usr/bin
	}
	if err := place(path, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(from, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !readOnly {
		return nil
	}
	// Unlike a remount it holds for what is mounted below, too, and leaves other
	// attributes of the mounts as they are. Before Linux 5.12 there is none.
	if err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("%s: read-only: %w", path, err)
	}
	return nil
}

// place makes what something can be mounted on, unless it is there.
func place(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// dropCapabilities leaves none to the program, though it is root in its
// namespace.
func dropCapabilities() error {
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // a kernel that knows no more of them
		}
		if err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	return nil
}
