package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// What the NAR reader of current Nix versions accepts.
// A tree beyond it would have a hash and still be of no use.
const (
	maxName   = 255  // bytes of one name
	maxTarget = 4095 // bytes of a symlink's target
	maxDepth  = 63   // names in a path below the top-level entry
)

// hardLink is the kind of a hard link whose target has not come yet.
const hardLink nar.Kind = -1

// node is one entry of the tree. Its name is raw bytes.
// Once it is in the tree, only its children change, and a hardLink, which becomes what its target is.
// An entry that replaces it is another node.
type node struct {
	name     string
	kind     nar.Kind
	file     *file            // Regular; hard links share it
	target   string           // Symlink: where it points, verbatim; hardLink: the member it names
	children []*node          // Directory; in NAR order, which is byte order of names, once the tree is complete
	byName   map[string]int32 // large Directory, while the archive is read: positions in children
}

// manyChildren is how many entries a directory has when searching them one by one no longer pays.
const manyChildren = 8

// file is the contents of a regular file and the one bit of its mode that counts.
type file struct {
	offset, size int64 // in the spool
	blob         git.ObjectID
	executable   bool
}

// child returns the entry of a directory with a name, nil if there is none.
func (n *node) child(name string) *node {
	if i := n.position(name); i >= 0 {
		return n.children[i]
	}
	return nil
}

// put enters c into a directory, in place of an entry of the same name.
func (n *node) put(c *node) {
	if i := n.position(c.name); i >= 0 {
		n.children[i] = c
		return
	}
	n.children = append(n.children, c)
	switch last := len(n.children) - 1; {
	case last > manyChildren:
		n.byName[c.name] = int32(last)
	case last == manyChildren:
		n.byName = make(map[string]int32, 4*manyChildren)
		for i, c := range n.children {
			n.byName[c.name] = int32(i)
		}
	}
}

func (n *node) position(name string) int {
	if n.byName == nil {
		return slices.IndexFunc(n.children, func(c *node) bool { return c.name == name })
	}
	if i, ok := n.byName[name]; ok {
		return int(i)
	}
	return -1
}

// sort gives a complete tree its final form.
func (n *node) sort() {
	n.byName = nil
	slices.SortFunc(n.children, byName)
	for _, c := range n.children {
		c.sort()
	}
}

// count is the number of nodes from n downwards.
func (n *node) count() int {
	total := 1
	for _, c := range n.children {
		total += c.count()
	}
	return total
}

// find returns the entry at a path of a complete tree, nil if there is none.
func (n *node) find(names []string) *node {
	for _, name := range names {
		i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
		if !ok {
			return nil
		}
		n = n.children[i]
	}
	return n
}

// splitName returns the names that a member name consists of, none for the folder that the archive unpacks into.
// They are appended to names, which must be empty.
func splitName(names []string, member string) ([]string, error) {
	if strings.HasPrefix(member, "/") {
		return nil, fmt.Errorf("name is absolute")
	}
	if member == "" {
		return nil, fmt.Errorf("name is empty")
	}
	for name := range strings.SplitSeq(member, "/") {
		switch {
		case name == "" || name == ".":
			continue
		case name == "..":
			return nil, fmt.Errorf("name contains %q", "..")
		case len(name) > maxName:
			return nil, fmt.Errorf("name of %d bytes is longer than %d", len(name), maxName)
		}
		names = append(names, name)
	}
	if len(names) > maxDepth+1 {
		return nil, fmt.Errorf("%d directories deep, more than %d", len(names)-1, maxDepth)
	}
	return names, nil
}
