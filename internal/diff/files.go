package diff

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// File is what lies outside of the store under a name.
type File struct {
	Kind   string `json:"kind"`             // file, link, folder and others
	Mode   string `json:"mode"`             // octal
	Owner  string `json:"owner"`            // UID:GID
	Size   int64  `json:"size,omitempty"`   // bytes of a file
	SHA256 string `json:"sha256,omitempty"` // of a file's content, hexadecimal
	Target string `json:"target,omitempty"` // of a link; of a device its numbers
}

// FileChange is a file that differs. A link that leads to the same place of another
// build or version of the same package is Rebuilt.
type FileChange struct {
	Name   string `json:"name"`
	Change string `json:"change"`
	From   *File  `json:"from"`
	To     *File  `json:"to"`
}

// ReadFiles reads what lies outside of the store, in images for a system that both
// have and that differ. It reads the layers that do not say that they hold nothing
// but store paths, each once, as long as those of one system are no more than most
// compressed bytes. Where that is not done or does not work, notes say so: a
// difference is worth as much without it.
func ReadFiles(ctx context.Context, a, b Image, most int64) error {
	r := reader{ctx: ctx, done: make(map[v1.Hash]result), room: mostFiles}
	had, has := bySystem(a.Parts), bySystem(b.Parts)
	for _, name := range slices.Sorted(maps.Keys(had)) {
		x, y := had[name], has[name]
		if y == nil || x.Digest == y.Digest {
			continue
		}
		if size := amount(slices.Concat(x.unnamed(), y.unnamed())).Bytes; size > most {
			note := fmt.Sprintf("files are not compared: their layers have %s in A and B, more than %s", humanize.IBytes(uint64(size)), humanize.IBytes(uint64(most)))
			x.Notes = append(x.Notes, note)
			y.Notes = append(y.Notes, note)
			continue
		}
		for _, p := range []*Part{x, y} {
			if err := r.part(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// unnamed are the layers that may have anything in them.
func (p *Part) unnamed() (list []Layer) {
	for _, l := range p.Layers {
		if !l.store {
			list = append(list, l)
		}
	}
	return list
}

// reader reads layers, none of them twice.
type reader struct {
	ctx  context.Context
	done map[v1.Hash]result
	room int // for more files
}

type result struct {
	content
	err error
}

func (r *reader) part(p *Part) error {
	files := make(map[string]file)
	for _, l := range p.unnamed() {
		if _, ok := r.done[l.Digest]; !ok {
			c, err := readLayer(r.ctx, p.image, l, &r.room)
			r.done[l.Digest] = result{c, err}
		}
		read := r.done[l.Digest]
		switch {
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case read.err != nil:
			p.Notes = append(p.Notes, said.Line(fmt.Sprintf("files are not known: layer %s: %v", l.Digest, read.err)))
			return nil
		}
		read.cover(files)
	}
	if p.made {
		maps.DeleteFunc(files, func(name string, _ file) bool { return image.Recorded(name) })
	}
	p.Files = files
	return nil
}

var errTooMany = fmt.Errorf("there are more than %d files outside of the store", mostFiles)

// fileChanges compares files by their names.
func fileChanges(a, b map[string]file) []FileChange {
	list := []FileChange{}
	for name, before := range a {
		after, there := b[name]
		c := FileChange{Name: said.Line(name), From: before.shown()}
		switch {
		case !there:
			c.Change = Removed
		case before == after:
			continue
		case rebuiltLink(before, after):
			c.Change, c.To = Rebuilt, after.shown()
		default:
			c.Change, c.To = Updated, after.shown()
		}
		list = append(list, c)
	}
	for name, after := range b {
		if _, there := a[name]; !there {
			list = append(list, FileChange{Name: said.Line(name), Change: Added, To: after.shown()})
		}
	}
	slices.SortFunc(list, func(x, y FileChange) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

// rebuiltLink tells of links that lead to the same place of the same package.
func rebuiltLink(a, b file) bool {
	if a.kind != tar.TypeSymlink || b.kind != tar.TypeSymlink {
		return false
	}
	name, below, ok := packageOf(a.target)
	other, there, is := packageOf(b.target)
	a.target = b.target
	return ok && is && a == b && name == other && below == there
}

// packageOf takes apart what leads into the store.
func packageOf(target string) (name, below string, ok bool) {
	rest, ok := strings.CutPrefix(path.Clean(target), nix.StoreDir+"/")
	base, below, _ := strings.Cut(rest, "/")
	store, err := nix.ParseStorePathBase(base)
	if !ok || err != nil {
		return "", "", false
	}
	name, _ = splitName(store.Name())
	return name, below, true
}

var kinds = map[byte]string{
	tar.TypeReg: "file", tar.TypeSymlink: "link", tar.TypeDir: "folder", tar.TypeChar: "character device",
	tar.TypeBlock: "block device", tar.TypeFifo: "pipe", tar.TypeLink: "hard link",
}

func (f file) shown() *File {
	s := &File{Kind: kinds[f.kind], Mode: fmt.Sprintf("%04o", f.mode), Owner: fmt.Sprintf("%d:%d", f.uid, f.gid), Size: f.size, Target: said.Line(f.target)}
	if f.kind == tar.TypeReg {
		s.SHA256 = fmt.Sprintf("%x", f.sum)
	}
	return s
}

// cells say what a file was and is: only that which differs, where it was and is.
func (c FileChange) cells() (from, to string) {
	switch {
	case c.From == nil:
		return "", c.To.cell(File{})
	case c.To == nil:
		return c.From.cell(File{}), ""
	}
	return c.From.cell(*c.To), c.To.cell(*c.From)
}

// hashDigits are enough to tell contents apart by.
const hashDigits = 12

func (f File) cell(other File) string {
	arrow := ""
	if strings.HasSuffix(f.Kind, "link") {
		arrow = "→ "
	}
	var words []string
	say := func(differs bool, word string) {
		if differs {
			words = append(words, word)
		}
	}
	say(f.Kind != other.Kind && f.Kind != "link", f.Kind) // of a link its target
	if f.SHA256 != "" {
		say(f.SHA256 != other.SHA256, fmt.Sprintf("%s %s", humanize.IBytes(uint64(f.Size)), f.SHA256[:hashDigits]))
	}
	say(f.Target != other.Target && f.Target != "", arrow+f.Target)
	say(f.Mode != other.Mode && (f.Kind != "link" || other.Kind == "link"), f.Mode)
	say(f.Owner != other.Owner && (other.Owner != "" || f.Owner != "0:0"), "of "+f.Owner)
	return strings.Join(words, ", ")
}
