package image

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Contents are what an index and the images in it say of what is in them, for
// people to read and to pin. The JSON form is that of the state file.
type Contents struct {
	Digest  v1.Hash         `json:"digest"`
	Date    time.Time       `json:"date,omitzero"`    // of the commit; zero: the image has no nixpkgs
	NarHash nix.Hash        `json:"narHash,omitzero"` // of nixpkgs; zero: the image has none
	Systems []SystemContent `json:"systems"`
}

// SystemContent is what the image of one system has.
type SystemContent struct {
	System config.System `json:"system"`
	Digest v1.Hash       `json:"digest"`
	Size   int64         `json:"size"` // compressed bytes of all layers
	Layers int           `json:"layers"`
	Tools  []Tool        `json:"tools"`
}

// Tool is a program that an image has been made for.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// ReadContents reads the contents of an index, from manifests and configurations
// alone. What the factory did not make is an error.
func ReadContents(index v1.ImageIndex) (Contents, error) {
	digest, err := index.Digest()
	if err != nil {
		return Contents{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Contents{}, err
	}
	if err := Made(manifest.Annotations); err != nil {
		return Contents{}, err
	}
	c := Contents{Digest: digest}
	if text := manifest.Annotations[NarHashLabel]; text != "" {
		if c.NarHash, err = nix.ParseHash(text); err != nil {
			return Contents{}, fmt.Errorf("annotation %s: %w", NarHashLabel, err)
		}
		if c.Date, err = time.Parse(time.RFC3339, manifest.Annotations[CreatedLabel]); err != nil {
			return Contents{}, said.Error(fmt.Errorf("annotation %s: %w", CreatedLabel, err))
		}
	}
	for _, desc := range manifest.Manifests {
		system, err := config.ParseSystem(desc.Annotations[SystemLabel])
		if err != nil {
			continue // as those of Systems
		}
		s, err := readSystem(index, desc.Digest)
		if err != nil {
			return Contents{}, fmt.Errorf("%s: %w", desc.Digest, err)
		}
		s.System = system
		c.Systems = append(c.Systems, s)
	}
	return c, nil
}

func readSystem(index v1.ImageIndex, digest v1.Hash) (SystemContent, error) {
	s := SystemContent{Digest: digest, Tools: []Tool{}}
	img, err := index.Image(digest)
	if err != nil {
		return s, err
	}
	opened, err := Open(img)
	if err != nil {
		return s, err
	}
	tools, err := Tools(opened.Config.Config.Labels)
	if err != nil {
		return s, err
	}
	for _, t := range tools {
		s.Tools = append(s.Tools, Tool{said.Line(t.Name), said.Line(t.Version)})
	}
	s.Size, s.Layers = weigh(Described(opened.Manifest))
	return s, nil
}

// weigh counts a layer that is there twice once, as it is downloaded once.
func weigh(list []Layer) (size int64, count int) {
	counted := make(map[v1.Hash]bool)
	for _, l := range list {
		if !counted[l.Digest] {
			size += l.Size
			count++
		}
		counted[l.Digest] = true
	}
	return size, count
}
