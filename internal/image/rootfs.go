package image

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

const (
	// InventoryPath is where an image keeps its inventory.
	InventoryPath = "/nix/var/nix/factory/image.json"

	profileDir = "/nix/profile"
	gcrootsDir = "/nix/var/nix/gcroots/factory"
	dbDir      = "/nix/var/nix/db"
)

// linked are the folders of a tool whose files appear below /nix/profile.
var linked = []string{"bin/", "etc/", "share/"}

// Inventory is the image's own list of what was put into it. The next build
// reads it to learn a tool's files without its NAR.
type Inventory struct {
	Channel string          `json:"channel,omitempty"` // "" without nixpkgs
	Rev     git.Rev         `json:"rev,omitzero"`      // none without nixpkgs
	System  config.System   `json:"system"`
	Recipe  recipe.ID       `json:"recipe"`
	Sources []nix.StorePath `json:"sources,omitempty"`
	Tools   []InventoryTool `json:"tools"`
	Missing []string        `json:"missing"`

	// Objects are all store objects of an image that has no Nix database to say so.
	Objects []InventoryObject `json:"objects,omitempty"`
}

// InventoryObject is a store object of an image.
type InventoryObject struct {
	Path       nix.StorePath   `json:"path"`
	NarHash    nix.Hash        `json:"narHash"`
	NarSize    int64           `json:"narSize"`
	References []nix.StorePath `json:"references"`
}

// Objects are store objects as the inventory has them.
func Objects(infos []nix.PathInfo) []InventoryObject {
	list := make([]InventoryObject, len(infos))
	for i, info := range infos {
		list[i] = InventoryObject{info.Path, info.NarHash, info.NarSize, append([]nix.StorePath{}, info.References...)}
	}
	return list
}

// InventoryTool is a tool and its linked files, relative to Path.
type InventoryTool struct {
	Attr    string        `json:"attr"`
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Path    nix.StorePath `json:"path"`
	Files   []string      `json:"files"`
}

// Listed keeps those of a store object's files that are linked below
// /nix/profile, sorted.
func Listed(files []string) []string {
	kept := []string{}
	for _, f := range files {
		if slices.ContainsFunc(linked, func(dir string) bool { return strings.HasPrefix(f, dir) }) {
			kept = append(kept, f)
		}
	}
	slices.Sort(kept)
	return kept
}

// Root is what the root file system's layer is made of.
type Root struct {
	Image     string // image folder
	Set       toolset.Toolset
	Inventory Inventory
	Roots     []nix.StorePath // protected from garbage collection
	Database  string          // file with the Nix database; "": the image has none
}

// Files returns the entries of the root file system: what the image folders install,
// what image.nix asks for, the tools' links, the Nix database with the garbage
// collector roots, and what every image needs that has it from none of these.
func (r Root) Files() ([]layers.File, error) {
	own, err := recipe.Installed(r.Image)
	if err != nil {
		return nil, err
	}
	files := append(folder(own, "rootfs", ""), folder(own, "bin", profileDir+"/bin")...)
	asked, err := r.asked()
	if err != nil {
		return nil, err
	}
	files = append(files, asked...)
	if err := r.setModes(files); err != nil {
		return nil, err
	}
	inventory, err := json.MarshalIndent(r.Inventory, "", "  ")
	if err != nil {
		return nil, err
	}
	files = append(files, r.profile(files)...)
	files = append(files,
		layers.File{Path: "/nix/store", Dir: true, Mode: 0o755},
		layers.File{Path: InventoryPath, Mode: 0o644, Data: append(inventory, '\n')},
	)
	files = append(files, r.database()...)
	return append(files, r.defaults(files)...), nil
}

// database returns the Nix database, and what its garbage collector must not take.
func (r Root) database() []layers.File {
	if r.Database == "" {
		return nil
	}
	files := []layers.File{
		{Path: dbDir + "/db.sqlite", Mode: 0o644, From: r.Database},
		{Path: dbDir + "/schema", Mode: 0o644, Data: []byte(nixdb.Schema)},
	}
	for _, p := range r.Roots {
		files = append(files, layers.File{Path: gcrootsDir + "/" + p.Base(), Target: p.String()})
	}
	return files
}

// Recorded tells of a file whether it is one in which an image says what store
// objects it has: the inventory, the Nix database and its garbage collector's roots.
func Recorded(name string) bool {
	return name == InventoryPath || path.Dir(name) == dbDir || path.Dir(name) == gcrootsDir
}

// folder returns the entries of a sub-folder of the image folder, below to.
func folder(files []recipe.File, part, to string) []layers.File {
	var entries []layers.File
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Name, part+"/")
		if !ok {
			continue
		}
		entry := layers.File{Path: path.Join("/", to, name), Mode: 0o644, From: f.From}
		switch {
		case f.Target != "":
			entry.From, entry.Target = "", f.Target
		case f.Executable:
			entry.Mode = 0o755
		}
		entries = append(entries, entry)
	}
	return entries
}

// asked returns the files, links and folders that image.nix names.
func (r Root) asked() ([]layers.File, error) {
	var files []layers.File
	for _, name := range slices.Sorted(maps.Keys(r.Set.Files)) {
		files = append(files, layers.File{Path: name, Mode: 0o644, Data: []byte(r.Set.Files[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Set.Links)) {
		files = append(files, layers.File{Path: name, Target: r.Set.Links[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Set.Directories)) {
		mode, err := parseMode(r.Set.Directories[name])
		if err != nil {
			return nil, fmt.Errorf("image.nix: directories.%q: %w", name, err)
		}
		files = append(files, layers.File{Path: name, Dir: true, Mode: mode})
	}
	return files, nil
}

// setModes gives files the modes that image.nix asks for: a checkout can keep no
// other than 0644 and 0755, and what image.nix itself writes has 0644.
func (r Root) setModes(files []layers.File) error {
	for _, name := range slices.Sorted(maps.Keys(r.Set.Modes)) {
		mode, err := parseMode(r.Set.Modes[name])
		if err != nil {
			return fmt.Errorf("image.nix: modes.%q: %w", name, err)
		}
		i := slices.IndexFunc(files, func(f layers.File) bool { return f.Path == name && f.Target == "" && !f.Dir })
		if i < 0 {
			return fmt.Errorf("image.nix: modes.%q: there is no such file", name)
		}
		files[i].Mode = mode
	}
	return nil
}

func parseMode(s string) (int64, error) {
	mode, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("want an octal mode, not %q", s)
	}
	return int64(mode), nil
}

// profile returns the links below /nix/profile. Where two tools have the same
// file, the one named first wins; what had lies there already wins over both.
func (r Root) profile(had []layers.File) []layers.File {
	taken := make(map[string]bool)
	folders := make(map[string]bool) // in which something lies
	take := func(at string) {
		taken[at] = true
		for dir := path.Dir(at); dir != "/"; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for _, f := range had {
		take(f.Path)
	}
	var links []layers.File
	for _, tool := range r.Inventory.Tools {
		for _, name := range tool.Files {
			at := profileDir + "/" + name
			if taken[at] || folders[at] || below(taken, at) {
				continue
			}
			take(at)
			links = append(links, layers.File{Path: at, Target: tool.Path.String() + "/" + name})
		}
	}
	return links
}

// below tells whether a file or link stands where the path wants a folder.
func below(taken map[string]bool, at string) bool {
	for dir := path.Dir(at); dir != profileDir; dir = path.Dir(dir) {
		if taken[dir] {
			return true
		}
	}
	return false
}
