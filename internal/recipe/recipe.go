// Package recipe digests everything but the revision that decides the bytes of
// an image: the image folder, the settings that enter it, and the encoding.
//
// Equal recipes and equal revisions give equal images. A changed recipe is a
// reason to build a channel's head again.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"strings"
)

// format changes when this program makes another image of the same inputs.
const format = 1

// Ignored tells of entries of an image folder that do not count: descriptions
// and tests. Everything else does, for image.nix may import it.
func Ignored(name string) bool {
	base := path.Base(name)
	return base == "testdata" || strings.HasSuffix(base, "_test.go") || strings.HasSuffix(base, ".md")
}

// Settings are the settings that enter an image. Adding a field changes every
// recipe.
type Settings struct {
	Systems     []string          `json:"systems"`
	Optional    []string          `json:"optional"` // systems that may be left out
	SourceNames []string          `json:"sourceNames"`
	Repository  string            `json:"repository"` // of nixpkgs, as in NixOS/nixpkgs
	Keys        []string          `json:"keys"`       // whose signatures enter the Nix database, in order
	Labels      map[string]string `json:"labels"`     // JSON has them in order
	Encoding    string            `json:"encoding"`   // identity of the layers' encoding
	Database    string            `json:"database"`   // identity of what writes the Nix database
}

// Digest returns "sha256:" and 64 hex digits. Of a file its path, whether it is
// executable, and its bytes count; of a link its target. Owners, times and
// other mode bits do not.
func Digest(image string, settings Settings) (string, error) {
	h := sha256.New()
	text, err := json.Marshal(settings)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "factory recipe %d\n%s\n", format, text)
	root, err := os.OpenRoot(image)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if _, err := root.Stat("image.nix"); err != nil {
		return "", fmt.Errorf("%s: %w", image, err)
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case Ignored(name) && d.IsDir():
			return fs.SkipDir
		case Ignored(name):
			return nil
		}
		return entry(h, root, name, d)
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", image, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// entry writes one line for a file or link, and a file's bytes. The length of
// each field is written before it, so no two folders give the same bytes.
func entry(h hash.Hash, root *os.Root, name string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeDir:
		return nil // folders without files do not enter an image
	case fs.ModeSymlink:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "link %d %s %d %s\n", len(name), name, len(target), target)
		return nil
	case 0:
	default:
		return fmt.Errorf("%s: want a file, a folder or a link", name)
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	data, err := root.ReadFile(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "file %d %s %t %d\n", len(name), name, Executable(name, info), len(data))
	h.Write(data)
	return nil
}

// Executable tells whether a file of the image folder is installed with mode
// 0755 rather than 0644. Scripts in bin always are.
func Executable(name string, info fs.FileInfo) bool {
	return info.Mode()&0o100 != 0 || strings.HasPrefix(path.Clean(name), "bin/")
}
