package nixcli

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// public is what every machine has, and nobody's secret is in: links of a tree
// may lead there.
var public = []string{"/nix/store", "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/sbin", "/usr/share", "/bin", "/lib", "/lib64", "/sbin", "/dev/null"}

// closed refuses folders with links that lead out of all of them, to what may
// be private. Restricted evaluation looks where links lead, except, in newer
// versions, when a file is fetched by an address: file:///tree/link. That ends
// in a store, so that it is of use only where there is one to write to.
func closed(folders []string) error {
	allowed := slices.Concat(folders, public)
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&fs.ModeSymlink == 0 {
				return err
			}
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				return nil // it leads nowhere
			}
			if !slices.ContainsFunc(allowed, func(folder string) bool { return target == folder || strings.HasPrefix(target, folder+"/") }) {
				return fmt.Errorf("%s is a link that leads out of %s", path, folder)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
