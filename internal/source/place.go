package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

// pendingLink is a hard link that came before its target.
type pendingLink struct {
	node   *node
	member string
}

// lookup returns the entry at a path of the tree as it is now, nil if there is none.
func (b *builder) lookup(names []string) *node {
	n := b.top
	for _, name := range names {
		if n = n.child(name); n == nil {
			return nil
		}
	}
	return n
}

// parents returns the directories that lead to the last of names, from the folder that the archive is unpacked into,
// and makes those that are missing.
func (b *builder) parents(names []string) ([]*node, error) {
	dir := b.top
	b.dirs = append(b.dirs[:0], dir)
	for i, name := range names[:len(names)-1] {
		next := dir.child(name)
		if next == nil {
			if err := b.charge(1, len(name)); err != nil {
				return nil, err
			}
			next = &node{name: strings.Clone(name), kind: nar.Directory}
			b.put(b.dirs, next)
		}
		if next.kind != nar.Directory {
			return nil, fmt.Errorf("lies below %q, which is %s", brief(strings.Join(names[:i+1], "/")), describe(next.kind))
		}
		dir = next
		b.dirs = append(b.dirs, dir)
	}
	return b.dirs, b.charge(0, len(names[len(names)-1]))
}

// put enters n into the last one of the directories that lead to it.
func (b *builder) put(dirs []*node, n *node) {
	dirs[len(dirs)-1].put(n)
	b.ahead.order.add(dirs, n)
}

// place enters n into the last one of the directories that lead to it.
// Of several members of one name the last one counts, as when unpacking.
func (b *builder) place(dirs []*node, n *node) error {
	if old := dirs[len(dirs)-1].child(n.name); old != nil && old.kind == nar.Directory {
		if n.kind == nar.Directory {
			return nil
		}
		if len(old.children) > 0 {
			return errors.New("has the name of a directory that is not empty")
		}
	}
	b.put(dirs, n)
	return nil
}

// hardLink makes a node equal to an earlier member as it is now, or one to be resolved at the end of the archive.
func (b *builder) hardLink(name string, hdr *tar.Header) (*node, error) {
	if hdr.Size != 0 {
		return nil, fmt.Errorf("hard link with %d bytes of contents", hdr.Size)
	}
	target, err := splitName(nil, hdr.Linkname)
	if err != nil {
		return nil, fmt.Errorf("hard link to %q: %w", brief(hdr.Linkname), err)
	}
	n := &node{name: name, kind: hardLink, target: strings.Clone(hdr.Linkname)}
	if found := b.lookup(target); found != nil && found.kind != hardLink {
		return n, n.become(found)
	}
	b.links = append(b.links, pendingLink{n, strings.Clone(hdr.Name)})
	return n, b.charge(0, len(hdr.Name))
}

// become makes a hard link equal to its target.
func (n *node) become(target *node) error {
	if target.kind == nar.Directory {
		return fmt.Errorf("hard link to %q, which is a directory", brief(n.target))
	}
	n.kind, n.file, n.target = target.kind, target.file, target.target
	return nil
}

// resolve gives a hard link, and all links on the way to its target, what the target is.
func (b *builder) resolve(n *node) error {
	var chain []*node
	for n.kind == hardLink {
		names, err := splitName(nil, n.target)
		if err != nil {
			return err
		}
		found := b.lookup(names)
		if found == nil {
			return fmt.Errorf("hard link to %q, which is not in the archive", brief(n.target))
		}
		if chain = append(chain, n); len(chain) > len(b.links) {
			return fmt.Errorf("hard link to %q leads back to itself", brief(n.target))
		}
		n = found
	}
	for _, link := range chain {
		if err := link.become(n); err != nil {
			return err
		}
	}
	return nil
}

// finish resolves the remaining hard links and returns the tree.
func (b *builder) finish() (*node, error) {
	for _, link := range b.links {
		if err := b.resolve(link.node); err != nil {
			return nil, fmt.Errorf("member %q: %w", brief(link.member), err)
		}
	}
	b.top.sort()
	switch top := b.top.children; len(top) {
	case 0:
		return nil, errors.New("archive is empty")
	case 1:
		return top[0], nil
	default:
		return nil, fmt.Errorf("archive has %d top-level entries, beginning with %q and %q (want one)", len(top), brief(top[0].name), brief(top[1].name))
	}
}

func describe(kind nar.Kind) string {
	switch kind {
	case nar.Directory:
		return "a directory"
	case nar.Symlink:
		return "a symbolic link"
	case hardLink:
		return "a hard link"
	}
	return "a regular file"
}
