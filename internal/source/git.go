package source

import (
	"crypto/sha1"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// treeID is the id that git gives the tree at root, zero if root is no directory.
func treeID(root *node) git.TreeID {
	if root.kind != nar.Directory {
		return git.TreeID{}
	}
	sum, _ := gitTree(root)
	return git.TreeIDOf(sum)
}

// gitTree computes the id of a directory from those of its entries.
// Git has no empty directories: the second result is false for a directory without any file below it.
func gitTree(dir *node) ([sha1.Size]byte, bool) {
	entries := slices.Clone(dir.children)
	slices.SortFunc(entries, compareGit)
	var object []byte
	for _, n := range entries {
		mode, id := "100644 ", [sha1.Size]byte{}
		switch n.kind {
		case nar.Directory:
			var ok bool
			if id, ok = gitTree(n); !ok {
				continue
			}
			mode = "40000 "
		case nar.Symlink:
			mode, id = "120000 ", objectID("blob", []byte(n.target))
		case nar.Regular:
			id = n.file.blob
			if n.file.executable {
				mode = "100755 "
			}
		}
		object = append(object, mode...)
		object = append(object, n.name...)
		object = append(object, 0)
		object = append(object, id[:]...)
	}
	return objectID("tree", object), len(object) > 0
}

func objectID(kind string, data []byte) [sha1.Size]byte {
	return sha1.Sum(append(objectHeader(kind, int64(len(data))), data...))
}

// compareGit orders entries of one directory as git does: by name, as if names of directories ended in "/".
func compareGit(a, b *node) int {
	common := min(len(a.name), len(b.name))
	if c := strings.Compare(a.name[:common], b.name[:common]); c != 0 {
		return c
	}
	return int(a.gitByte(common)) - int(b.gitByte(common))
}

// gitByte is the byte at position i of a name as git sorts it, 0 at its end.
func (n *node) gitByte(i int) byte {
	switch {
	case i < len(n.name):
		return n.name[i]
	case n.kind == nar.Directory:
		return '/'
	}
	return 0
}
