package verify

import (
	"fmt"
	"path"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// gitTree computes git's id of a tree whose entries come in the order of a NAR: only
// the folders that are open are in memory.
type gitTree struct {
	open  []gitFolder
	root  git.ObjectID
	files bool   // the root is no folder
	empty string // a folder without files, which git cannot have
}

type gitFolder struct {
	path    string
	entries []git.Entry
}

// add takes an entry in. The order was checked by whoever writes the NAR.
func (t *gitTree) add(e nar.Entry, blob git.ObjectID) {
	for len(t.open) > 0 && e.Path != "" && !below(e.Path, t.top().path) {
		t.closeTop()
	}
	entry := git.Entry{Name: path.Base(e.Path), Mode: git.File, ID: blob}
	switch {
	case e.Kind == nar.Directory:
		t.open = append(t.open, gitFolder{path: e.Path})
		return
	case e.Path == "":
		t.files = true
		return
	case e.Kind == nar.Symlink:
		entry.Mode, entry.ID = git.Link, git.BlobID(e.Target)
	case e.Executable:
		entry.Mode = git.Executable
	}
	t.top().entries = append(t.top().entries, entry)
}

func (t *gitTree) top() *gitFolder { return &t.open[len(t.open)-1] }

func below(name, folder string) bool { return folder == "" || strings.HasPrefix(name, folder+"/") }

// closeTop completes the innermost open folder.
func (t *gitTree) closeTop() {
	done := *t.top()
	t.open = t.open[:len(t.open)-1]
	id := git.TreeObjectID(done.entries)
	if len(t.open) == 0 {
		t.root = id
		return
	}
	if len(done.entries) == 0 {
		t.empty = done.path
	}
	t.top().entries = append(t.top().entries, git.Entry{Name: path.Base(done.path), Mode: git.Folder, ID: id})
}

// id is the tree's, when all entries were added. What git cannot have is an error:
// a tree with an id that leaves it out is another one.
func (t *gitTree) id() (git.TreeID, error) {
	for len(t.open) > 0 {
		t.closeTop()
	}
	switch {
	case t.files:
		return git.TreeID{}, fmt.Errorf("it is no folder, so no tree of git")
	case t.empty != "":
		return git.TreeID{}, fmt.Errorf("%q is an empty folder, which no tree of git has", t.empty)
	}
	return git.TreeIDOf(t.root), nil
}
