package run

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Confinement is what a program is held to. How well depends on the system:
// limits and namespaces are Linux'.
//
// The factory starts itself again for that (see stage_linux.go): a stage that
// sets limits, makes namespaces, and then becomes the program.
type Confinement struct {
	Memory  int64         // bytes of data that it may have; 0: no limit
	CPU     time.Duration // of processor time, should nobody be left to end it; 0: no limit
	NoFiles bool          // it may not write to files

	Namespaces *Namespaces // nil: it sees what the factory sees
}

// Namespaces show a program nothing but the system's programs and libraries,
// the Nix store and the folders named here. There is no network, no other
// process, and nobody's home.
type Namespaces struct {
	Read  []string // absolute paths
	Write []string

	// Store is a folder whose entries are shown in /nix/store, in the place of the
	// system's programs and libraries and of its store. "": it sees those.
	Store string
}

// stageError is how a stage exits that could not do what it should.
const stageError = 125

// Beside returns what a program at an absolute path may need of what lies
// around it: the folders of programs and libraries of its prefix. No more of
// it: a prefix may be somebody's home.
func Beside(program string) []string {
	prefix := filepath.Dir(filepath.Dir(program))
	for _, known := range []string{"/usr", "/nix/store"} {
		if prefix == known || strings.HasPrefix(prefix, known+"/") {
			return nil
		}
	}
	var found []string
	for _, name := range []string{"bin", "sbin", "lib", "lib64", "libexec", "share"} {
		dir := filepath.Join(prefix, name)
		info, err := os.Lstat(dir)
		if err == nil && (info.IsDir() || info.Mode()&fs.ModeSymlink != 0) && prefix != "/" {
			found = append(found, dir)
		}
	}
	return found
}
