package recipe

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is a file or link of an image folder that counts.
type File struct {
	Name       string // slash-separated, relative to the image folder
	From       string // where a file's bytes are
	Target     string // of a link, "" for a file
	Executable bool   // whether it is installed with mode 0755 rather than 0644
}

// Files returns what counts of one image folder, in the order of names. It is
// what both the digest and the image are made of, so nothing can enter an image
// without changing its recipe.
//
// Below rootfs and bin all files do, for all of them are installed. Beside these
// descriptions and tests do not: image.nix may import everything else. What editors
// and desktops leave behind counts nowhere.
func Files(image string) ([]File, error) {
	root, err := os.OpenRoot(image)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var files []File
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ignored(name) && d.IsDir():
			return fs.SkipDir
		case ignored(name), d.IsDir(): // folders without files do not enter an image
			return nil
		}
		f, err := file(root, name, d)
		f.From = filepath.Join(image, filepath.FromSlash(name))
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image, err)
	}
	return files, nil
}

// leftovers are the names of backups, locks and unsaved text of editors, and of what
// a desktop notes of a folder. They are there on one machine and not on another.
var leftovers = []string{"*~", "#*#", ".#*", ".*.sw[a-p]", ".DS_Store"}

// ignored tells of leftovers, descriptions and tests.
func ignored(name string) bool {
	base := path.Base(name)
	for _, pattern := range leftovers {
		if is, _ := path.Match(pattern, base); is { // a test has the patterns be good
			return true
		}
	}
	if installed(name) {
		return false
	}
	return base == "testdata" || strings.HasSuffix(base, "_test.go") || strings.HasSuffix(base, ".md")
}

func file(root *os.Root, name string, d fs.DirEntry) (File, error) {
	switch d.Type() {
	case fs.ModeSymlink:
		target, err := root.Readlink(name)
		return File{Name: name, Target: target}, err
	case 0:
	default:
		return File{}, fmt.Errorf("%s: want a file, a folder or a link", name)
	}
	info, err := d.Info()
	if err != nil {
		return File{}, err
	}
	// A checkout may have lost the mode of a script.
	executable := info.Mode()&0o100 != 0 || strings.HasPrefix(name, "bin/")
	return File{Name: name, Executable: executable}, nil
}

// Installed returns what an image installs out of its folders: what lies in rootfs
// and in bin. A file of its own folder stands in the place of one that has the
// same name in a folder that it builds on.
func Installed(image string) ([]File, error) {
	folders, err := Folders(image)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]File)
	for _, folder := range slices.Backward(folders) {
		files, err := Files(folder)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if installed(f.Name) {
				byName[f.Name] = f
			}
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b File) int { return strings.Compare(a.Name, b.Name) }), nil
}

func installed(name string) bool {
	return strings.HasPrefix(name, "rootfs/") || strings.HasPrefix(name, "bin/")
}
