package evaluator

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// public is what every machine has, and nobody's secret is in. Links of a tree
// may lead to a file there, but to no folder: in those there are links, too.
var public = []string{"/usr/bin", "/usr/include", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/sbin", "/usr/share", "/bin", "/lib", "/lib64", "/sbin", "/dev/null"}

// closed refuses folders with links that lead out of all of them, to what may
// be private. Restricted evaluation looks where links lead, except, in newer
// versions, when a file is fetched by an address: file:///tree/link. That ends in
// a store, so that it is of use only where there is one to write to. Nothing can be
// fetched without a cache (see noCache); this holds should that change.
func closed(folders []string) error {
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&fs.ModeSymlink == 0 {
				return err
			}
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				return nil // it leads nowhere
			}
			info, err := os.Lstat(target)
			isFile := err == nil && !info.IsDir()
			if !below(target, folders) && !(isFile && below(target, public)) && target != "/nix/store" {
				return fmt.Errorf("%q is a link that leads out of %s", path, folder)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func below(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") })
}
