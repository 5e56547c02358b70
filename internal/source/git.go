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
	id, _ := new(gitTrees).id(root)
	return git.TreeIDOf(id)
}

// gitTrees computes the ids of trees.
type gitTrees struct {
	entries []git.Entry // of the directories that lead to the current one, one after the other
}

// id is that of a directory. It is false for directories without any file below them, of which git knows nothing.
func (t *gitTrees) id(dir *node) (git.ObjectID, bool) {
	begin := len(t.entries)
	for _, n := range dir.children {
		e := git.Entry{Name: n.name, Mode: git.File}
		switch n.kind {
		case nar.Directory:
			id, ok := t.id(n)
			if !ok {
				continue
			}
			e.Mode, e.ID = git.Folder, id
		case nar.Symlink:
			e.Mode, e.ID = git.Link, git.BlobID(n.target)
		case nar.Regular:
			e.ID = n.file.blob
			if n.file.executable {
				e.Mode = git.Executable
			}
		}
		t.entries = append(t.entries, e)
	}
	id, ok := git.TreeObjectID(t.entries[begin:]), len(t.entries) > begin
	t.entries = t.entries[:begin]
	return id, ok
}
