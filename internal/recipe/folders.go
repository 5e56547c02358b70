package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// BaseLink is the name of the link by which an image folder says on which other
// one it builds: what that one installs is in the image too, and image.nix may
// import it. No other folder is opened to either.
const BaseLink = "base"

// maxFolders bounds how many folders one image is made of.
const maxFolders = 8

// Folders returns the folders that an image is made of: its own, the one that it
// builds on, and so on.
func Folders(image string) ([]string, error) {
	folders := []string{image}
	var seen []string // without links in them
	for dir := image; ; {
		real, err := realFolder(dir)
		if err != nil && dir != image {
			err = fmt.Errorf("%s: %w", dir, err)
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(seen, real) {
			return nil, fmt.Errorf("%s: the image builds on itself", image)
		}
		if len(seen) == maxFolders {
			return nil, fmt.Errorf("%s: the image builds on more than %d others", image, maxFolders-1)
		}
		seen = append(seen, real)
		link := filepath.Join(dir, BaseLink)
		info, err := os.Lstat(link)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode()&fs.ModeSymlink == 0:
			return folders, nil
		case err != nil:
			return nil, err
		}
		dir = link
		folders = append(folders, dir)
	}
}

// realFolder leads to an image folder by a path without links.
func realFolder(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(real, "image.nix")); err != nil {
		return "", err
	}
	return real, nil
}
