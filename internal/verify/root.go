package verify

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// rootWalker reads a topmost layer.
type rootWalker struct {
	scan  *scan
	root  *check.Root
	kinds map[string]byte // by name; check.Root bounds them
	err   error           // why the layer does not say what is in the image
}

// visit takes an entry in. Nothing may be there twice, or lie below what is no folder
// of this layer: readers differ in where it would be.
func (w *rootWalker) visit(h *tar.Header, content io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	dir := path.Dir(name)
	switch {
	case w.kinds[name] != 0:
		return fmt.Errorf("%.200q: is there twice", name)
	case dir != "." && w.kinds[dir] != tar.TypeDir:
		return fmt.Errorf("%.200q: the folder above it is not there", name)
	case h.Typeflag == tar.TypeLink:
		return fmt.Errorf("%.200q: a hard link", name)
	case hides(name, h.Typeflag):
		return fmt.Errorf("%.200q: in the store, in the layer with the root file system", name)
	case (name == "nix" || name == "nix/store") && h.Typeflag != tar.TypeDir:
		return fmt.Errorf("%.200q: is no folder", name)
	}
	w.kinds[name] = h.Typeflag
	if w.err == nil {
		w.err = w.root.Visit(h, content)
	}
	if len(w.kinds) > maxRoot {
		return fmt.Errorf("more than %d entries", maxRoot)
	}
	return nil
}

// hides tells of what could lie over a store object. The base image has a folder in
// the store for Nix's own links, which is none.
func hides(name string, kind byte) bool {
	base, ok := strings.CutPrefix(name, "nix/store/")
	if !ok {
		return false
	}
	_, err := nix.ParseStorePathBase(base)
	return kind != tar.TypeDir || err == nil || strings.Contains(base, "/")
}

// maxRoot bounds the entries of a root file system. That of the base image has 4,000.
const maxRoot = 500_000

// ours are the files of a root file system that other checks hold against something.
var ours = map[string]bool{image.InventoryPath: true, "/nix/var/nix/db/db.sqlite": true, "/nix/var/nix/db/schema": true}

// holdRoot names what nothing in the image vouches for: the files that the image's
// folder brings along, and where its links lead.
func (p *part) holdRoot() {
	c := p.check(rootCheck)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.root.Files)) {
		if !ours[name] {
			names = append(names, name)
		}
	}
	c.not("%d files of the image's folder, and where %d links lead: nothing but a rebuild shows that they are as they were meant (%s)", len(names), len(p.root.Links), brief(names))
}
