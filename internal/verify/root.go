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
	"github.com/nixpkgs-factory/factory/internal/nixdb"
)

// rootWalker reads a topmost layer.
type rootWalker struct {
	scan  *scan
	root  *check.Root
	kinds map[string]byte // by name; check.Root bounds them
	err   error           // why the layer does not say what is in the image

	schema  string
	special []string // entries with another owner than root, or modes that give rights
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
	w.rights(name, h)
	if "/"+name == schemaFile && h.Typeflag == tar.TypeReg {
		text, err := io.ReadAll(io.LimitReader(content, int64(len(nixdb.Schema)+1)))
		if err != nil {
			return err
		}
		w.schema = string(text)
	}
	if w.err == nil {
		w.err = w.root.Visit(h, content)
	}
	if len(w.kinds) > maxRoot {
		return fmt.Errorf("more than %d entries", maxRoot)
	}
	return nil
}

// rights notes who may do what with an entry. The folders of the store have to be as in
// the layers below; of the others an image may be meant to have any.
func (w *rootWalker) rights(name string, h *tar.Header) {
	const setID = 0o6000
	others := h.Mode&0o002 != 0 && h.Mode&0o1000 == 0 && h.Typeflag != tar.TypeSymlink
	switch {
	case name == "nix" || name == "nix/store":
		if h.Mode != 0o755 || h.Uid != 0 || h.Gid != 0 {
			w.scan.files.add("%q: mode %o, of %d:%d, want 755 of root", h.Name, h.Mode, h.Uid, h.Gid)
		}
	case h.Uid != 0 || h.Gid != 0:
		w.special = append(w.special, fmt.Sprintf("/%s is of %d:%d", name, h.Uid, h.Gid))
	case h.Mode&setID != 0 || others:
		w.special = append(w.special, fmt.Sprintf("/%s has mode %o", name, h.Mode))
	}
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
var ours = map[string]bool{image.InventoryPath: true, databaseFolder + "/db.sqlite": true, schemaFile: true}

const schemaFile = databaseFolder + "/schema"

// holdRoot names what nothing in the image vouches for: the files that the image's
// folder brings along, where its links lead, and how a container runs.
func (p *part) holdRoot() {
	c := p.check(rootCheck)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.root.Files)) {
		if !ours[name] {
			names = append(names, name)
		}
	}
	run := p.opened.Config.Config
	c.not("%d files of the image's folder (%s), where %d links lead, how a container runs (%d variables, command, user), and which store objects there are: nothing but a rebuild shows that they are as they were meant%s",
		len(names), brief(names), len(p.root.Links), len(run.Env), p.rights())
}

// rights names what somebody may do by the root file system that others may not.
func (p *part) rights() string {
	if len(p.special) == 0 {
		return ""
	}
	return "; note: " + brief(p.special)
}
