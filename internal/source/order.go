package source

import (
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// order finds out, while a tree grows in git's order, which entries come next in the order of a NAR.
//
// Git sorts a directory as if its name ended in a slash, a NAR by the bare name. So the two differ only where the
// name of an entry begins with that of a directory beside it and goes on with a byte below the slash:
//
//	added     steps known then
//	foo-1
//	foo.nix
//	foo/      foo
//	foo/x     foo/x
//	foo0      foo-1, foo.nix, foo0
//
// Such an entry is held, with all that is below it, until that directory has come or cannot come any more.
// All others are known as they come.
//
// The steps are a guess: that the rest of the tree comes in git's order, too.
// Whoever uses them must compare them with those of the complete tree.
type order struct {
	open  []level // the directories that lead to the last entry, from the folder that the archive is unpacked into
	steps []step
	lost  bool // the tree grows in another order: steps are of no use
}

// level is a directory that more may come into.
type level struct {
	dir   *node
	known bool      // it is in the steps, so that its entries can follow
	last  git.Entry // the entry that came last, without its id
	held  []*node   // entries that are not in the steps, for wait would be before them
	wait  git.Entry // the directory that their names all begin with
}

func newOrder(top *node) order {
	return order{open: []level{{dir: top, known: true}}}
}

// add takes an entry that is new in the last one of the directories that lead to it.
func (o *order) add(dirs []*node, n *node) {
	if o.lost {
		return
	}
	for len(o.open) > len(dirs) {
		o.end()
	}
	depth := len(dirs) - 1
	if o.lost = len(o.open) < len(dirs) || o.open[depth].dir != dirs[depth]; o.lost { // into an earlier directory
		return
	}
	l := &o.open[depth]
	entry := git.Entry{Name: n.name, Mode: git.File}
	if n.kind == nar.Directory {
		entry.Mode = git.Folder
	}
	if o.lost = git.CompareEntries(l.last, entry) >= 0 || n.kind == hardLink; o.lost {
		return
	}
	l.last = entry
	known := l.known && o.place(depth, n, entry)
	if n.kind == nar.Directory {
		o.open = append(o.open, level{dir: n, known: known})
	}
}

// place makes a new entry a step, or holds it. It tells which.
func (o *order) place(depth int, n *node, entry git.Entry) bool {
	l := &o.open[depth]
	if len(l.held) > 0 {
		switch c := git.CompareEntries(entry, l.wait); {
		case c < 0:
			l.held = append(l.held, n)
			return false
		case c > 0:
			o.release(depth)
		}
	}
	if dir := earlier(entry.Name); dir != "" && depth > 0 { // there is only one top-level entry
		l.held, l.wait = append(l.held, n), git.Entry{Name: dir, Mode: git.Folder}
		return false
	}
	o.steps = append(o.steps, step{depth, n})
	return true
}

// release makes steps of what is held in a directory.
func (o *order) release(depth int) {
	l := &o.open[depth]
	slices.SortFunc(l.held, byName)
	for _, n := range l.held {
		o.walk(depth, n)
	}
	l.held = l.held[:0]
}

// walk makes steps of an entry and all that is below it.
func (o *order) walk(depth int, n *node) {
	o.steps = append(o.steps, step{depth, n})
	if len(n.children) == 0 {
		return
	}
	children := slices.Clone(n.children)
	slices.SortFunc(children, byName)
	for _, c := range children {
		o.walk(depth+1, c)
	}
}

// end closes the innermost directory.
func (o *order) end() {
	depth := len(o.open) - 1
	o.release(depth)
	o.open = o.open[:depth]
}

// complete closes all directories.
func (o *order) complete() {
	for len(o.open) > 0 && !o.lost {
		o.end()
	}
}

// earlier is the name of the directory that would be before an entry in a NAR and comes after it in git's order,
// "" if there can be none. Of several ones it is the shortest, which comes last.
func earlier(name string) string {
	for i := 1; i < len(name); i++ {
		if name[i] < '/' {
			return name[:i]
		}
	}
	return ""
}

func byName(a, b *node) int { return strings.Compare(a.name, b.name) }
