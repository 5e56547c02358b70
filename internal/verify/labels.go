package verify

import (
	"slices"
	"strconv"
	"time"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// holdLabels holds the labels of an image against its annotations, those of the index,
// its configuration, and its inventory.
func (p *part) holdLabels(v *verification) {
	c := p.check("labels")
	if p.opened.Config == nil {
		c.not("the manifest cannot be believed")
		return
	}
	labels, said := p.opened.Config.Config.Labels, p.opened.Manifest.Annotations
	c.addAll(check.Labels(v.facts, labels))
	for _, name := range sortedKeys(v.facts) {
		if v.facts[name] != labels[name] {
			c.add("label %s is %q, the index says %q", name, labels[name], v.facts[name])
		}
	}
	for _, name := range slices.Compact(sortedKeys(said, labels)) {
		if name != image.ToolsLabel && said[name] != labels[name] {
			c.add("label %s is %q, the manifest says %q", name, labels[name], said[name])
		}
	}
	conf := p.opened.Config
	system, err := config.ParseSystem(labels[image.SystemLabel])
	if err != nil || system.OS != conf.OS || system.Arch != conf.Architecture || system.Variant != conf.Variant {
		c.add("label %s is %q, the configuration is for %s/%s", image.SystemLabel, labels[image.SystemLabel], conf.OS, conf.Architecture)
	}
	p.holdDates(c, labels)
	p.holdInventory(c, labels)
	c.say("%d labels against annotations, configuration and inventory", len(labels))
}

func sortedKeys(maps ...map[string]string) (names []string) {
	for _, m := range maps {
		for name := range m {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// holdDates holds what says when an image was made against each other.
func (p *part) holdDates(c *Check, labels map[string]string) {
	if labels[image.RevisionLabel] == "" {
		return
	}
	created := p.opened.Config.Created.Time
	if text := created.UTC().Format(time.RFC3339); labels[image.CreatedLabel] != text {
		c.add("label %s is %q, the configuration says %s", image.CreatedLabel, labels[image.CreatedLabel], text)
	}
	if text := strconv.FormatInt(created.Unix(), 10); labels[image.LastModifiedLabel] != text {
		c.add("label %s is %q, the configuration says %s", image.LastModifiedLabel, labels[image.LastModifiedLabel], text)
	}
}

// holdInventory holds the image's own list of what is in it against the labels.
func (p *part) holdInventory(c *Check, labels map[string]string) {
	if p.root == nil {
		return
	}
	list := p.root.Inventory
	for name, inside := range map[string]string{
		image.RecipeLabel: string(list.Recipe), image.SystemLabel: list.System.Nix,
		image.ChannelLabel: list.Channel, image.RevisionLabel: list.Rev.String(),
	} {
		if labels[name] != inside {
			c.add("label %s is %q, %s in the image says %q", name, labels[name], image.InventoryPath, inside)
		}
	}
	tools, err := image.Tools(labels)
	if err != nil {
		c.add("%v", err)
		return
	}
	inside := make([]image.ToolFact, len(list.Tools))
	for i, t := range list.Tools {
		inside[i] = image.ToolFact{Name: t.Name, Version: t.Version, Path: t.Path.String()}
	}
	if !slices.Equal(tools, inside) {
		c.add("label %s has other tools than %s in the image", image.ToolsLabel, image.InventoryPath)
	}
	for _, t := range list.Tools {
		if _, ok := p.root.Objects[t.Path.Base()]; !ok {
			c.add("the tool %s is %s, which is not in the image", t.Attr, t.Path)
		}
	}
}

// holdSource holds the nixpkgs of an image against the hashes that its labels have.
func (p *part) holdSource(v *verification) {
	labels := p.opened.Config.Config.Labels
	if v.facts[image.RevisionLabel] == "" {
		return
	}
	c := p.check("source")
	hash, err := nix.ParseHash(labels[image.NarHashLabel])
	if err != nil {
		c.add("label %s: %v", image.NarHashLabel, err)
		return
	}
	if labels[image.Sha256Label] != hash.Base32() {
		c.add("label %s is %q, want %s", image.Sha256Label, labels[image.Sha256Label], hash.Base32())
	}
	named, err := nix.SourcePath(config.SourceName, hash, nil)
	if err != nil {
		c.add("%v", err)
		return
	}
	if !slices.Contains(p.root.Inventory.Sources, named) {
		c.add("%s, which the labels lead to, is not among the sources in the image", named)
	}
	c.say("%d paths of nixpkgs with the NAR hash of the labels", len(p.root.Inventory.Sources))
	for _, path := range p.root.Inventory.Sources {
		p.holdTree(c, path, hash, labels[image.ReleaseLabel])
	}
}

// holdTree holds one store path of nixpkgs against its hash and version.
func (p *part) holdTree(c *Check, path nix.StorePath, hash nix.Hash, version string) {
	o, ok := p.found[path]
	switch {
	case !ok:
		c.add("%s is not in the image", path)
		return
	case o.err != nil || o.narHash != hash:
		c.add("%s: its files do not have the NAR hash %s", path.Base(), hash.SRI())
	case o.treeErr != nil:
		c.add("%s: %v", path.Base(), o.treeErr)
	case o.version != "" && o.version != version:
		c.add("%s: says the version %q, the label %s %q", path.Base(), o.version, image.ReleaseLabel, version)
	}
	p.sources = append(p.sources, o)
}
