// Package image puts layers together: an image for one system out of its
// layers, and an index out of the images of all systems.
//
// It makes manifests and decides what lies in the root file system; it reads no
// clock and no network, so equal inputs give equal digests.
package image

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// Names of labels and annotations beside those of the OCI specification
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
const (
	prefix            = "io.github.nixpkgs-factory."
	ChannelLabel      = prefix + "channel"
	RecipeLabel       = prefix + "recipe"
	SystemLabel       = prefix + "system"
	Sha256Label       = prefix + "nixpkgs.sha256"
	NarHashLabel      = prefix + "nixpkgs.narHash"
	LastModifiedLabel = prefix + "nixpkgs.lastModified"
	ToolsLabel        = prefix + "tools"

	RevisionLabel = "org.opencontainers.image.revision"
	CreatedLabel  = "org.opencontainers.image.created"
	VersionLabel  = "org.opencontainers.image.version"

	// ReleaseLabel is nixpkgs' own version, as in "26.05".
	ReleaseLabel = prefix + "nixpkgs.version"

	// NamedLabel is the version that image.nix says the image is named by.
	NamedLabel = prefix + "version"

	// ToolsetLabel is, on an image without nixpkgs, the digest of all that
	// image.nix says of it. Where it and the recipe are the same, so is the image.
	ToolsetLabel = prefix + "toolset"
)

// epoch is when an image without nixpkgs was created, as far as it says: the time
// that all files in it have. It cannot be the commit's, which the image does not
// depend on, and no other is the same on every machine.
var epoch = time.Unix(1, 0).UTC()

// Facts are what labels and annotations say of an image.
type Facts struct {
	Nixpkgs *Nixpkgs // nil: the image has none, and is the same for all commits that give it the same tools
	Name    string   // of an image without nixpkgs
	Version string   // that names the image; "" where it is named by the version of nixpkgs, or not at all
	Recipe  recipe.ID
	Labels  map[string]string // of the image folder: to add or replace
	Extra   map[string]string // of the configuration, the same, and over those
}

// Nixpkgs is the nixpkgs that an image has.
type Nixpkgs struct {
	Channel    string
	Rev        git.Rev
	Date       time.Time // of the commit
	Version    string    // as in "26.05"
	NarHash    nix.Hash
	Repository string // as in NixOS/nixpkgs
}

// created is when the image was made, as it says.
func (f Facts) created() time.Time {
	if f.Nixpkgs == nil {
		return epoch
	}
	return f.Nixpkgs.Date.UTC()
}

// common are the labels that are the same for every system.
func (f Facts) common() map[string]string {
	labels := map[string]string{"org.opencontainers.image.source": config.DefaultSource}
	if f.Nixpkgs != nil {
		maps.Copy(labels, f.Nixpkgs.labels())
	} else {
		labels["org.opencontainers.image.title"] = f.Name
	}
	if f.Version != "" {
		labels[VersionLabel] = f.Version
		labels[NamedLabel] = f.Version
	}
	labels[RecipeLabel] = string(f.Recipe)
	maps.Copy(labels, f.Labels)
	maps.Copy(labels, f.Extra)
	return labels
}

func (n Nixpkgs) labels() map[string]string {
	short := n.Rev.Short(12)
	labels := map[string]string{
		"org.opencontainers.image.title":       "nixpkgs-" + n.Channel,
		"org.opencontainers.image.description": fmt.Sprintf("Nix, Cachix, Attic and the nixpkgs of %s at %s", n.Channel, short),
		"org.opencontainers.image.url":         "https://github.com/" + n.Repository + "/tree/" + n.Rev.String(),
		"org.opencontainers.image.licenses":    "MIT",
		VersionLabel:                           strings.Join(nonEmpty(n.Version, n.Date.UTC().Format("20060102"), short), "."),
		RevisionLabel:                          n.Rev.String(),
		CreatedLabel:                           n.Date.UTC().Format(time.RFC3339),
		ChannelLabel:                           n.Channel,
		Sha256Label:                            n.NarHash.Base32(),
		NarHashLabel:                           n.NarHash.SRI(),
		LastModifiedLabel:                      strconv.FormatInt(n.Date.Unix(), 10),
	}
	if n.Version != "" {
		labels[ReleaseLabel] = n.Version
	}
	return labels
}

// VersionOf is what names an image by its annotations: what image.nix says, or
// the version of nixpkgs.
func VersionOf(annotations map[string]string) string {
	return cmp.Or(annotations[NamedLabel], annotations[ReleaseLabel])
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

// ToolFact is a tool as the tools label has it, in JSON.
type ToolFact struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
}

// Settings are the runtime defaults of an image, and what its system's labels say.
type Settings struct {
	System config.System
	Set    toolset.Toolset
}

// labels are those that are a system's own.
func (s Settings) labels(f Facts) map[string]string {
	labels := map[string]string{SystemLabel: s.System.Nix}
	if f.Nixpkgs == nil {
		labels[ToolsetLabel] = s.Set.Digest()
	}
	return labels
}

// tools is the label with the tools.
func (s Settings) tools() (string, error) {
	tools := []ToolFact{}
	for _, t := range s.Set.Tools {
		tools = append(tools, ToolFact{Name: t.Name, Version: t.Version, Path: t.Path.String()})
	}
	text, err := json.Marshal(tools)
	return string(text), err
}

// config is the part of the configuration that says how a container runs.
func (s Settings) config(labels map[string]string) v1.Config {
	c := v1.Config{
		Env:        environment(s.Set.Env),
		Entrypoint: s.Set.Entrypoint,
		Cmd:        s.Set.Cmd,
		WorkingDir: s.Set.WorkDir,
		User:       s.Set.User,
		StopSignal: s.Set.StopSignal,
		Labels:     labels,
	}
	if len(s.Set.Ports) > 0 {
		c.ExposedPorts = make(map[string]struct{})
	}
	for _, port := range s.Set.Ports {
		if !strings.Contains(port, "/") {
			port += "/tcp"
		}
		c.ExposedPorts[port] = struct{}{}
	}
	if len(s.Set.Volumes) > 0 {
		c.Volumes = make(map[string]struct{})
	}
	for _, dir := range s.Set.Volumes {
		c.Volumes[dir] = struct{}{}
	}
	return c
}

// Assemble makes the image of one system. The layers lie on each other in the
// order given, the first at the bottom.
func Assemble(facts Facts, settings Settings, stack []*layers.Layer) (v1.Image, error) {
	annotations := facts.common()
	maps.Copy(annotations, settings.labels(facts))
	labels := maps.Clone(annotations)
	var err error
	if labels[ToolsLabel], err = settings.tools(); err != nil {
		return nil, err
	}
	created := v1.Time{Time: facts.created()}
	stacked := make([]mutate.Addendum, len(stack))
	for i, l := range stack {
		stacked[i] = mutate.Addendum{
			Layer:       l.Blob(),
			Annotations: l.Annotations(),
			History:     v1.History{Created: created, CreatedBy: l.CreatedBy},
		}
	}
	return Compose(&v1.ConfigFile{
		Created:      created,
		OS:           settings.System.OS,
		Architecture: settings.System.Arch,
		Variant:      settings.System.Variant,
		RootFS:       v1.RootFS{Type: "layers"},
		Config:       settings.config(labels),
	}, stacked, annotations)
}

func environment(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// Part is the image of one system.
type Part struct {
	System config.System
	Image  v1.Image
}

// Plain is an image whose descriptor in an index has no artifact type. The
// library would give it that of its configuration, which readers need not know:
// skopeo copies such an index with another digest.
type Plain struct{ v1.Image }

// ArtifactType is asked for by the library.
func (Plain) ArtifactType() (string, error) { return "", nil }

// Index makes the index that a tag points to, with the parts in the order
// given. Its annotations are those that all parts have in common, so it does not
// matter whether the parts were made by one machine or by several.
func Index(parts []Part) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var common map[string]string
	for i, p := range parts {
		manifest, err := p.Image.Manifest()
		if err != nil {
			return nil, err
		}
		facts := maps.Clone(manifest.Annotations)
		if got := facts[SystemLabel]; got != p.System.Nix {
			return nil, fmt.Errorf("the image for %s says that it is for %q", p.System.Nix, got)
		}
		own := map[string]string{SystemLabel: p.System.Nix}
		if digest, ok := facts[ToolsetLabel]; ok {
			own[ToolsetLabel] = digest
		}
		for name := range own {
			delete(facts, name)
		}
		if i == 0 {
			common = facts
		} else if !maps.Equal(common, facts) {
			return nil, fmt.Errorf("the images for %s and %s are not of one build: their annotations differ", parts[0].System.Nix, p.System.Nix)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: Plain{p.Image},
			Descriptor: v1.Descriptor{
				MediaType:   types.OCIManifestSchema1,
				Platform:    &v1.Platform{OS: p.System.OS, Architecture: p.System.Arch, Variant: p.System.Variant},
				Annotations: own,
			},
		})
	}
	return mutate.Annotations(index, common).(v1.ImageIndex), nil
}
