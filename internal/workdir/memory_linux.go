package workdir

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// roomOf tells what is left of a file system in memory, and of the memory that the
// machine and the control groups of this process have.
func roomOf(mount string) (room, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(mount, &s); err != nil {
		return room{}, fmt.Errorf("%s: %w", mount, err)
	}
	if s.Type != unix.TMPFS_MAGIC {
		return room{}, fmt.Errorf("%s is not in memory", mount)
	}
	machine, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return room{}, err
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return room{}, err
	}
	left := room{bytes: math.MaxInt64, files: math.MaxInt64}
	if s.Blocks > 0 { // otherwise it has no limit of its own
		left.bytes = int64(s.Bavail) * s.Bsize
	}
	if s.Files > 0 {
		left.files = int64(s.Ffree)
	}
	left.memory = min(available(string(machine)), spare(os.DirFS("/sys/fs/cgroup"), string(groups)))
	return left, nil
}

// available is the memory, in bytes, that /proc/meminfo says can be taken without swapping.
func available(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// spare is how many bytes of memory the control groups leave, which are in the
// form of /proc/self/cgroup, and whose files are below root. A container may see its
// own group at the root, though it has another name outside.
func spare(root fs.FS, groups string) int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, name, _ := strings.Cut(rest, ":")
		h := unified
		if controllers != "" {
			h = legacy
			if !strings.Contains(","+controllers+",", ",memory,") {
				continue
			}
		}
		for dir := path.Join(h.dir, path.Clean("/"+name)); ; dir = path.Dir(dir) {
			least = min(least, h.spare(root, dir))
			if dir == h.dir || dir == "." {
				break
			}
		}
	}
	return least
}

// hierarchy names the files in which a version of control groups says what it
// has of memory.
type hierarchy struct {
	dir      string
	limits   []string
	usage    string
	inactive string // in memory.stat: cache that is given back when memory is wanted
}

var (
	unified = hierarchy{".", []string{"memory.max", "memory.high"}, "memory.current", "inactive_file"}
	legacy  = hierarchy{"memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file"}
)

// spare is what one group leaves; one without a limit leaves everything.
func (h hierarchy) spare(root fs.FS, dir string) int64 {
	limit := int64(math.MaxInt64)
	for _, name := range h.limits {
		if n, ok := number(root, path.Join(dir, name)); ok {
			limit = min(limit, n)
		}
	}
	if limit == math.MaxInt64 {
		return limit
	}
	used, ok := number(root, path.Join(dir, h.usage))
	if !ok {
		return 0
	}
	stat, _ := fs.ReadFile(root, path.Join(dir, "memory.stat"))
	for line := range strings.Lines(string(stat)) {
		if rest, ok := strings.CutPrefix(line, h.inactive+" "); ok {
			given, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			used -= given
		}
	}
	return max(0, limit-used)
}

// number reads a file that holds a number, and not "max" for none.
func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// trusted refuses a folder that others could have put in the way: everybody may
// write to a file system in memory.
func trusted(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder that only this user writes to", dir)
	}
	return nil
}
