package diff

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Image is an image for one or several systems.
type Image struct {
	Image   string  `json:"image"` // as it was named
	Digest  v1.Hash `json:"digest"`
	Channel string  `json:"channel,omitempty"`
	Rev     string  `json:"rev,omitempty"`
	Parts   []Part  `json:"-"`
}

// Part is the image for one system.
type Part struct {
	System   string // as in x86_64-linux; the platform for what Nix has no name for; "unknown"
	Digest   v1.Hash
	Layers   []Layer // the first lies at the bottom
	Config   v1.Config
	Tools    []Package // nil: not known
	Packages []Package // nil: not known
	Notes    []string  // what is not known

	// Files are those outside of the store, by their names; nil: not known. Only
	// ReadFiles reads them.
	Files map[string]file

	image v1.Image
	made  bool // by the factory
}

// Layer is a layer by its digest.
type Layer struct {
	Digest v1.Hash
	Size   int64 // compressed
	store  bool  // it says that it holds store paths, and so nothing else
}

// Package is a store path, or a tool.
type Package struct{ Name, Version, Path string }

// ReadAll describes an image by the manifests and configurations of its systems, of
// which there is at least one.
func ReadAll(name string, digest v1.Hash, images []v1.Image) (Image, error) {
	all := Image{Image: name, Digest: digest}
	if len(images) == 0 {
		return all, errors.New("an index without images")
	}
	for _, img := range images {
		part, err := Read(img)
		if err != nil {
			return all, err
		}
		all.Parts = append(all.Parts, part)
	}
	labels := all.Parts[0].Config.Labels
	all.Channel, all.Rev = said.Line(labels[image.ChannelLabel]), said.Line(labels[image.RevisionLabel])
	return all, nil
}

// Read describes the image for one system.
func Read(img v1.Image) (Part, error) {
	digest, err := img.Digest()
	if err != nil {
		return Part{}, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return Part{}, err
	}
	if len(manifest.Layers) == 0 {
		return Part{}, fmt.Errorf("this is no image: it has no layers (media type %q)", said.Line(string(manifest.MediaType)))
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return Part{}, err
	}
	p := Part{System: systemOf(conf), Digest: digest, Config: conf.Config, image: img, made: image.Made(manifest.Annotations) == nil}
	p.readLayers(manifest)
	p.readTools()
	return p, nil
}

func systemOf(conf *v1.ConfigFile) string {
	switch platform := path.Join(conf.OS, conf.Architecture, conf.Variant); platform {
	case "linux/amd64":
		return "x86_64-linux"
	case "linux/arm64", "linux/arm64/v8":
		return "aarch64-linux"
	default:
		return cmp.Or(said.Line(platform), "unknown")
	}
}

// readLayers takes the packages from the layers' annotations.
func (p *Part) readLayers(manifest *v1.Manifest) {
	named := 0
	var wrong error
	for _, l := range image.Described(manifest) {
		p.Layers = append(p.Layers, Layer{l.Digest, l.Size, len(l.Paths) > 0})
		for _, base := range l.Paths {
			store, err := nix.ParseStorePathBase(base)
			if err != nil {
				wrong = cmp.Or(wrong, fmt.Errorf("layer %s: %w", l.Digest, err))
				continue
			}
			name, version := splitName(store.Name())
			p.Packages = append(p.Packages, Package{name, version, base})
		}
		if len(l.Paths) > 0 {
			named++
		}
	}
	switch {
	case wrong != nil:
		p.Packages = nil
		p.Notes = append(p.Notes, said.Line("packages are not known: "+wrong.Error()))
	case p.Packages == nil:
		p.Notes = append(p.Notes, "packages are not known: no layer says which store paths it has")
	case !p.made && named < len(p.Layers):
		p.Notes = append(p.Notes, fmt.Sprintf("packages are those of %d of %d layers; the others do not say which store paths they have", named, len(p.Layers)))
	}
}

func (p *Part) readTools() {
	if p.Config.Labels[image.ToolsLabel] == "" {
		p.Notes = append(p.Notes, "tools are not known: there is no label "+image.ToolsLabel)
		return
	}
	tools, err := image.Tools(p.Config.Labels)
	if err != nil {
		p.Notes = append(p.Notes, said.Line("tools are not known: "+err.Error()))
		return
	}
	p.Tools = []Package{}
	for _, t := range tools {
		p.Tools = append(p.Tools, Package{said.Line(t.Name), said.Line(t.Version), t.Path})
	}
}

var (
	// As builtins.parseDrvName has it: from the first dash that no letter follows.
	versioned = regexp.MustCompile(`^(.*?)-([^A-Za-z].*)$`)
	// The output of a package stands behind its version.
	output = regexp.MustCompile(`-(bin|data|debug|dev|devdoc|devman|dist|doc|info|lib|lib32|lib64|libs|libgcc|libexec|man|out|py|static|terminfo)$`)
)

// splitName takes the name of a store path apart. All outputs of a package have
// the same name and version.
func splitName(full string) (name, version string) {
	parts := versioned.FindStringSubmatch(full)
	if parts == nil {
		return full, ""
	}
	return parts[1], strings.TrimSuffix(parts[2], output.FindString(parts[2]))
}
