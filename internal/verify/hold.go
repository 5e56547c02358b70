package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
)

// gcroots is where an image keeps what its garbage collector must not take. One of
// its links is Nix's own, to where profiles will be.
const (
	gcroots  = "/nix/var/nix/gcroots/"
	profiles = "/nix/var/nix/profiles"
)

// hold holds what was read of an image against each other.
func (p *part) hold(ctx context.Context, v *verification) {
	p.holdLabels(v)
	p.holdLayers()
	if p.root == nil {
		p.holdNothing()
		return
	}
	p.gather()
	p.holdFiles()
	p.holdDatabase(v)
	p.holdContents()
	p.holdClosure()
	p.holdRoots()
	p.holdLinks()
	p.holdSignatures(ctx, v)
	p.holdSource(v)
	p.holdRoot()
}

// holdNothing says what is not checked of an image that does not say what is in it.
func (p *part) holdNothing() {
	c := p.check("database")
	if p.unread != nil {
		c.add("%v", p.unread)
	}
	for _, name := range []string{"files", "contents", "closure", "gcroots", "links", "signatures", "source"} {
		p.check(name).not("the topmost layer does not say what is in the image")
	}
	if c.Result != Failed {
		c.not("the topmost layer cannot be read")
	}
}

// holdLayers holds the bytes of layers against what is said of them.
func (p *part) holdLayers() {
	c := p.check("layers")
	if len(p.stack) == 0 {
		c.not("the manifest cannot be believed")
		return
	}
	var packed int64
	for i, s := range append(slices.Clone(p.below), p.top) {
		place := i
		if s == p.top {
			place = len(p.stack) - 1
		}
		one := *s
		one.layer = p.stack[place] // another image may say another diffID
		one.identity(c, place)
		packed += s.got.Size
	}
	c.say("digest and diffID of each; read: %d, %s", len(p.below)+1, humanize.IBytes(uint64(packed)))
	if p.root != nil {
		c.addAll(p.root.Spread(p.stack[:len(p.stack)-1]))
	}
}

// gather collects the store objects of the layers, and holds the layers' own lists of
// them against what they have.
func (p *part) gather() {
	for _, s := range p.below {
		for _, o := range s.objects {
			p.found[o.path] = o
		}
	}
}

// holdFiles reports entries that the factory does not write.
func (p *part) holdFiles() {
	c := p.check("files")
	entries := p.top.entries
	c.join("root file system: ", &p.top.files)
	for i, s := range p.below {
		entries += s.entries
		c.join("", &s.files)
		var names []string
		for _, o := range s.objects {
			names = append(names, o.path.Base())
		}
		if want := p.stack[i].Paths; s.err == nil && !slices.Equal(names, want) {
			c.add("layer %d has %s, its list says %s", i, brief(names), brief(want))
		}
	}
	c.addAll(p.root.Lacking(p.opened.Config.Config))
	c.say("names, modes, owners and times of %s entries; nothing hides what another layer has", humanize.Comma(int64(entries)))
}

// brief shows a few names.
func brief(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], " ") + " …"
	}
	return strings.Join(names, " ")
}

// holdDatabase holds the store objects that the image knows against those it has.
func (p *part) holdDatabase(v *verification) {
	c := p.check("database")
	what := "the Nix database"
	if !p.root.Database {
		what = "the image's list, for it has no Nix database"
	}
	c.say("%d store objects of %s", len(p.root.Objects), what)
	if !p.root.Database && v.facts[image.RevisionLabel] != "" {
		c.add("nixpkgs is in the image, and no Nix database")
	}
	p.holdDatabaseFolder(c)
	counts := make(map[nix.StorePath]int)
	for _, s := range p.below {
		for _, o := range s.objects {
			counts[o.path]++
		}
	}
	for _, info := range p.sorted() {
		if n := counts[info.Path]; n != 1 {
			c.add("%s has its files in %d layers, want 1", info.Path.Base(), n)
		}
		delete(counts, info.Path)
	}
	for _, path := range slices.SortedFunc(maps.Keys(counts), nix.StorePath.Compare) {
		c.add("%s is in a layer, and %s does not know it", path.Base(), what)
	}
}

// databaseFolder is where Nix has its database.
const databaseFolder = "/nix/var/nix/db"

// holdDatabaseFolder finds what lies beside the database: a log or a journal of SQLite's
// there is a part of it, and makes another one of it when Nix opens it.
func (p *part) holdDatabaseFolder(c *Check) {
	for _, name := range sortedKeys(p.root.Links) {
		if name == databaseFolder || strings.HasPrefix(name, databaseFolder+"/") {
			c.add("%s leads elsewhere", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.root.Files)) {
		if strings.HasPrefix(name, databaseFolder+"/") && !(p.root.Database && ours[name]) {
			c.add("%s is nothing that the factory makes", name)
		}
	}
	if p.root.Database && p.schema != nixdb.Schema {
		c.add("%s says %q, want %s", schemaFile, p.schema, nixdb.Schema)
	}
}

// sorted are the store objects that the image knows, in the order of their paths.
func (p *part) sorted() []nix.PathInfo {
	return slices.SortedFunc(maps.Values(p.root.Objects), func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
}

// holdContents holds the files of store objects against the NAR hashes.
func (p *part) holdContents() {
	c := p.check("contents")
	var size int64
	n := 0
	for _, info := range p.sorted() {
		o, ok := p.found[info.Path]
		switch {
		case !ok: // said by the database
			continue
		case o.err != nil:
			c.add("%s: %v", info.Path.Base(), o.err)
		case o.narHash != info.NarHash || o.narSize != info.NarSize:
			c.add("%s: its files have the NAR hash %s and %d bytes, want %s and %d", info.Path.Base(), o.narHash.SRI(), o.narSize, info.NarHash.SRI(), info.NarSize)
		}
		n++
		size += o.narSize
	}
	c.say("NAR hashes of %d store objects, %s", n, humanize.IBytes(uint64(size)))
}

// holdClosure finds references that lead out of the image.
func (p *part) holdClosure() {
	c := p.check("closure")
	references := 0
	for _, info := range p.sorted() {
		references += len(info.References)
	}
	c.say("%d references between store objects", references)
	c.addAll(p.root.Unresolved())
}

// holdRoots holds what the garbage collector must not take against the store objects:
// all of them have to be kept.
func (p *part) holdRoots() {
	c := p.check("gcroots")
	if !p.root.Database {
		c.not("an image without a Nix database has no garbage collector")
		return
	}
	kept := make(map[string]bool)
	n := 0
	for _, name := range slices.Sorted(maps.Keys(p.root.Links)) {
		target := p.root.Links[name]
		if !strings.HasPrefix(name, gcroots) || target == profiles {
			continue
		}
		n++
		base, below, ok := intoStore(target)
		if _, known := p.root.Objects[base]; !ok || below != "" || !known {
			c.add("%s leads to %q, which is no store object of the image", name, target)
			continue
		}
		p.keep(kept, base)
	}
	for _, info := range p.sorted() {
		if !kept[info.Path.Base()] {
			c.add("no root keeps %s", info.Path.Base())
		}
	}
	c.say("%d roots of the garbage collector keep all store objects", n)
}

// keep adds a store object to those that are kept, and all that it needs.
func (p *part) keep(kept map[string]bool, base string) {
	todo := []string{base}
	for len(todo) > 0 {
		base := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if kept[base] {
			continue
		}
		kept[base] = true
		for _, ref := range p.root.Objects[base].References {
			todo = append(todo, ref.Base())
		}
	}
}

// holdLinks finds links of the root file system, and programs, that lead to nothing.
func (p *part) holdLinks() {
	c := p.check("links")
	c.addAll(p.root.Leading(p.opened.Config.Config))
	n := 0
	for _, name := range slices.Sorted(maps.Keys(p.root.Links)) {
		base, below, ok := intoStore(p.root.Links[name])
		if !ok {
			continue
		}
		n++
		if _, known := p.root.Objects[base]; known && below != "" && !p.leads(base, below) {
			c.add("%s leads to %s, which is not there", name, p.root.Links[name])
		}
	}
	c.say("%d links into the store, and what a container is started with", n)
}

// leads tells whether a link that leads into a store object finds something there, or
// another link on the way.
func (p *part) leads(base, below string) bool {
	for {
		for _, s := range p.below {
			if s.found[base+"/"+below] {
				return true
			}
		}
		cut := strings.LastIndexByte(below, '/')
		if cut < 0 {
			return false
		}
		below = below[:cut]
	}
}

// holdSignatures holds what is known of each store object against the trusted keys.
func (p *part) holdSignatures(ctx context.Context, v *verification) {
	c := p.check("signatures")
	var keys []string
	for _, key := range v.Keys { // whole: anybody can give a key the name of another one
		keys = append(keys, key.String())
	}
	trusted := strings.Join(keys, " ")
	switch {
	case p.root.Database:
		signed := 0
		for _, info := range p.sorted() {
			check := info.Signed
			if p.isSource(v, info.Path) {
				check = info.Trusted
			} else {
				signed++
			}
			if err := check(v.Keys); err != nil {
				c.add("%s: %v", info.Path.Base(), err)
			}
		}
		c.say("signatures of %d store objects, content addresses of %d of nixpkgs; trusted: %s", signed, len(p.root.Objects)-signed, trusted)
	case v.Infos == nil:
		c.not("the image has no Nix database, so no signatures, and no binary cache was asked for them")
	default:
		c.say("signed narinfos of %d store objects, from binary caches; trusted: %s", len(p.root.Objects), trusted)
		c.addAll(p.ask(ctx, v.Infos))
	}
}

// isSource tells of a store object that is held against the commit. That it is named by
// its content says nothing of any other: whoever makes a file can name it so.
func (p *part) isSource(v *verification, path nix.StorePath) bool {
	return v.facts[image.RevisionLabel] != "" && slices.Contains(p.root.Inventory.Sources, path)
}

// questions bounds how many store objects are asked for at once.
const questions = 16

// ask holds what the image says of its store objects against what binary caches do.
func (p *part) ask(ctx context.Context, infos Infos) []error {
	list := p.sorted()
	problems := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(questions)
	for i, had := range list {
		group.Go(func() error {
			has, err := infos.Info(ctx, had.Path)
			switch {
			case err != nil:
				problems[i] = err
			case has.NarHash != had.NarHash || has.NarSize != had.NarSize:
				problems[i] = fmt.Errorf("%s: a binary cache has the NAR hash %s and %d bytes, the image %s and %d", had.Path.Base(), has.NarHash.SRI(), has.NarSize, had.NarHash.SRI(), had.NarSize)
			case !slices.Equal(has.References, had.References):
				problems[i] = fmt.Errorf("%s: a binary cache says that it refers to other store objects than the image says", had.Path.Base())
			}
			return nil
		})
	}
	group.Wait() // its functions return no error
	return slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}
