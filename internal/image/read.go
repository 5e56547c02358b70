package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// Opened is the image of one system, read back: its manifest, its configuration
// and its layers from the bottom up, none of which is fetched.
type Opened struct {
	Manifest *v1.Manifest
	Config   *v1.ConfigFile
	Blobs    []v1.Layer
}

// Layer is a layer of an image that was read back.
type Layer struct {
	v1.Descriptor
	DiffID v1.Hash // as the configuration says
	Blob   v1.Layer
	Key    layers.Key // "" for a layer that has none
	Paths  []string   // base names of the store paths in it
}

// Open reads an image back.
func Open(img v1.Image) (Opened, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return Opened{}, err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return Opened{}, err
	}
	blobs, err := img.Layers()
	if err != nil {
		return Opened{}, err
	}
	return Opened{manifest, conf, blobs}, nil
}

// Stack returns the layers, of which there is at least one. Manifest and
// configuration have to agree on how many there are.
func (o Opened) Stack() ([]Layer, error) {
	diffIDs := o.Config.RootFS.DiffIDs
	if len(o.Blobs) == 0 || len(o.Blobs) != len(o.Manifest.Layers) || len(o.Blobs) != len(diffIDs) {
		return nil, fmt.Errorf("%d layers, %d in the manifest, %d diffIDs", len(o.Blobs), len(o.Manifest.Layers), len(diffIDs))
	}
	stack := make([]Layer, len(o.Blobs))
	for i, desc := range o.Manifest.Layers {
		stack[i] = layerOf(desc)
		stack[i].DiffID, stack[i].Blob = diffIDs[i], o.Blobs[i]
	}
	return stack, nil
}

// Described returns the layers as the manifest alone describes them.
func Described(manifest *v1.Manifest) []Layer {
	list := make([]Layer, len(manifest.Layers))
	for i, desc := range manifest.Layers {
		list[i] = layerOf(desc)
	}
	return list
}

func layerOf(desc v1.Descriptor) Layer {
	return Layer{
		Descriptor: desc,
		Key:        layers.Key(desc.Annotations[layers.KeyAnnotation]),
		Paths:      strings.Fields(desc.Annotations[layers.PathsAnnotation]),
	}
}

// Tools returns the tools that the labels of an image name.
func Tools(labels map[string]string) ([]ToolFact, error) {
	tools := []ToolFact{}
	if err := json.Unmarshal([]byte(labels[ToolsLabel]), &tools); err != nil {
		return nil, fmt.Errorf("label %s: %w", ToolsLabel, err)
	}
	return tools, nil
}

// Made refuses what the factory did not make, as the annotations of an index or
// of an image below it say.
func Made(annotations map[string]string) error {
	if annotations[RecipeLabel] == "" {
		return fmt.Errorf("the factory did not make this image: it has no annotation %s", RecipeLabel)
	}
	return nil
}

// Systems returns the systems that an index has images for, of those that the
// factory makes images for.
func Systems(manifest *v1.IndexManifest) []config.System {
	var systems []config.System
	for _, desc := range manifest.Manifests {
		if system, err := config.ParseSystem(desc.Annotations[SystemLabel]); err == nil {
			systems = append(systems, system)
		}
	}
	return systems
}

// WithoutNixpkgs tells whether an index is one of images without nixpkgs.
func WithoutNixpkgs(manifest *v1.IndexManifest) bool {
	return len(manifest.Manifests) > 0 &&
		!slices.ContainsFunc(manifest.Manifests, func(desc v1.Descriptor) bool { return desc.Annotations[ToolsetLabel] == "" })
}

// ReadInventory reads the inventory from an image's topmost layer.
func ReadInventory(top v1.Layer) (Inventory, error) {
	var inventory *Inventory
	err := layers.Read(top, func(h *tar.Header, content io.Reader) error {
		if "/"+h.Name != InventoryPath {
			return nil
		}
		read, err := DecodeInventory(content)
		if err != nil {
			return err
		}
		inventory = &read
		return nil
	})
	if err != nil {
		return Inventory{}, err
	}
	if inventory == nil {
		return Inventory{}, errors.New("no inventory in the topmost layer")
	}
	return *inventory, nil
}

// DecodeInventory reads an inventory's file.
func DecodeInventory(content io.Reader) (Inventory, error) {
	var inventory Inventory
	if err := json.NewDecoder(io.LimitReader(content, maxInventory)).Decode(&inventory); err != nil {
		return inventory, fmt.Errorf("%s: %w", InventoryPath, err)
	}
	return inventory, nil
}

const maxInventory = 16 << 20
