// Package image puts layers together: an image for one system out of its
// layers, and an index out of the images of all systems.
//
// It makes manifests and decides what lies in the root file system; it reads no
// clock and no network, so equal inputs give equal digests.
package image

import (
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
)

// Facts are what labels and annotations say of an image.
type Facts struct {
	Channel    string
	Rev        git.Rev
	Date       time.Time // of the commit
	Version    string    // of nixpkgs, as in "26.05"
	Recipe     recipe.ID
	NarHash    nix.Hash          // of the source
	Repository string            // as in NixOS/nixpkgs
	Extra      map[string]string // labels to add or replace
}

// common are the labels that are the same for every system.
func (f Facts) common() map[string]string {
	short := f.Rev.Short(12)
	version := strings.Join(nonEmpty(f.Version, f.Date.UTC().Format("20060102"), short), ".")
	labels := map[string]string{
		"org.opencontainers.image.title":       "nixpkgs-" + f.Channel,
		"org.opencontainers.image.description": fmt.Sprintf("Nix, Cachix, Attic and the nixpkgs of %s at %s", f.Channel, short),
		"org.opencontainers.image.source":      config.DefaultSource,
		"org.opencontainers.image.url":         "https://github.com/" + f.Repository + "/tree/" + f.Rev.String(),
		"org.opencontainers.image.licenses":    "MIT",
		VersionLabel:                           version,
		RevisionLabel:                          f.Rev.String(),
		CreatedLabel:                           f.Date.UTC().Format(time.RFC3339),
		ChannelLabel:                           f.Channel,
		RecipeLabel:                            string(f.Recipe),
		Sha256Label:                            f.NarHash.Base32(),
		NarHashLabel:                           f.NarHash.SRI(),
		LastModifiedLabel:                      strconv.FormatInt(f.Date.Unix(), 10),
	}
	if f.Version != "" {
		labels[ReleaseLabel] = f.Version
	}
	maps.Copy(labels, f.Extra)
	return labels
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

// Settings are the runtime defaults of an image.
type Settings struct {
	System  config.System
	Env     map[string]string
	Cmd     []string
	WorkDir string
	Tools   []ToolFact
}

// Assemble makes the image of one system. The layers lie on each other in the
// order given, the first at the bottom.
func Assemble(facts Facts, settings Settings, stack []*layers.Layer) (v1.Image, error) {
	labels := facts.common()
	labels[SystemLabel] = settings.System.Nix
	tools, err := json.Marshal(settings.Tools)
	if err != nil {
		return nil, err
	}
	labels[ToolsLabel] = string(tools)

	created := v1.Time{Time: facts.Date.UTC()}
	base, err := mutate.ConfigFile(
		mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		&v1.ConfigFile{
			Created:      created,
			OS:           settings.System.OS,
			Architecture: settings.System.Arch,
			Variant:      settings.System.Variant,
			RootFS:       v1.RootFS{Type: "layers"},
			Config: v1.Config{
				Env:        environment(settings.Env),
				Cmd:        settings.Cmd,
				WorkingDir: settings.WorkDir,
				Labels:     labels,
			},
		})
	if err != nil {
		return nil, err
	}
	adds := make([]mutate.Addendum, len(stack))
	for i, l := range stack {
		adds[i] = mutate.Addendum{
			Layer:       l.Blob(),
			Annotations: l.Annotations(),
			History:     v1.History{Created: created, CreatedBy: l.CreatedBy},
		}
	}
	img, err := mutate.Append(base, adds...)
	if err != nil {
		return nil, err
	}
	annotations := facts.common()
	annotations[SystemLabel] = settings.System.Nix
	return mutate.Annotations(img, annotations).(v1.Image), nil
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
		delete(facts, SystemLabel)
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
				Annotations: map[string]string{SystemLabel: p.System.Nix},
			},
		})
	}
	return mutate.Annotations(index, common).(v1.ImageIndex), nil
}
