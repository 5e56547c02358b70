package source

import (
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// treeID is the id that git gives the tree at root, zero if root is no directory.
func treeID(root *node) git.TreeID {
	if root.kind != nar.Directory {
		return git.TreeID{}
	}
	return git.TreeIDOf(git.TreeObjectID(gitEntries(root)))
}

// gitEntries are the entries of a directory as git has them: none for directories
// without any file below them, of which it knows nothing.
func gitEntries(dir *node) []git.Entry {
	entries := make([]git.Entry, 0, len(dir.children))
	for _, n := range dir.children {
		e := git.Entry{Name: n.name, Mode: git.File}
		switch n.kind {
		case nar.Directory:
			below := gitEntries(n)
			if len(below) == 0 {
				continue
			}
			e.Mode, e.ID = git.Folder, git.TreeObjectID(below)
		case nar.Symlink:
			e.Mode, e.ID = git.Link, git.BlobID(n.target)
		case nar.Regular:
			e.ID = n.file.blob
			if n.file.executable {
				e.Mode = git.Executable
			}
		}
		entries = append(entries, e)
	}
	return entries
}
