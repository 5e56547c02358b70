// Package check holds a finished index against itself before a tag points to
// it: the Nix database, or the list of an image that has none, against the layers,
// the closure, the links and the digests. An index goes in, and out come all the
// problems that it has, as one error; without one, every store path that the image
// names is in it.
//
// It reads the manifests and the topmost layer of each image, nothing else.
// That the other layers hold what their keys say was proved when they were
// made; a key binds a layer to the NAR hashes that the database must have.
package check

import (
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// Index checks all images of an index. The error joins everything that is
// wrong. scratch is a folder for the databases, which are removed.
func Index(index v1.ImageIndex, scratch string) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var problems []error
	if len(manifest.Manifests) == 0 {
		problems = append(problems, errors.New("an index without images"))
	}
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return err
		}
		if err := checkImage(manifest.Annotations, desc, img, scratch); err != nil {
			problems = append(problems, fmt.Errorf("image %s: %w", desc.Digest, err))
		}
	}
	return errors.Join(problems...)
}

func checkImage(facts map[string]string, desc v1.Descriptor, img v1.Image, scratch string) error {
	opened, err := image.Open(img)
	if err != nil {
		return err
	}
	conf := opened.Config
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	problems = append(problems, Labels(facts, conf.Config.Labels)...)
	if p := desc.Platform; p == nil || p.OS != conf.OS || p.Architecture != conf.Architecture {
		add("the index says platform %v, the image %s/%s", p, conf.OS, conf.Architecture)
	}
	stack, err := opened.Stack()
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	for i, layer := range stack {
		digest, err := layer.Blob.Digest()
		if err != nil {
			return err
		}
		diffID, err := layer.Blob.DiffID()
		if err != nil {
			return err
		}
		if digest != layer.Digest || diffID != layer.DiffID {
			add("layer %d: digest %s and diffID %s, the manifest says %s and %s", i, digest, diffID, layer.Digest, layer.DiffID)
		}
	}
	last := len(stack) - 1
	root := NewRoot(scratch)
	if err := layers.Read(stack[last].Blob, root.Visit); err != nil {
		return fmt.Errorf("topmost layer: %w", err)
	}
	if err := root.Listed(); err != nil {
		return fmt.Errorf("topmost layer: %w", err)
	}
	if facts[image.RevisionLabel] != "" && !root.Database {
		add("nixpkgs is in the image, and no Nix database")
	}
	problems = append(problems, root.Spread(stack[:last])...)
	problems = append(problems, root.Dangling(conf.Config)...)
	return errors.Join(append(problems, root.Lacking(conf.Config)...)...)
}

// Labels holds what an image is known by against what its index says: an image with
// nixpkgs has all of it, another one the recipe only.
func Labels(facts, labels map[string]string) (problems []error) {
	for _, label := range []string{image.RecipeLabel, image.ChannelLabel, image.RevisionLabel, image.NarHashLabel} {
		wanted := facts[image.RevisionLabel] != "" || label == image.RecipeLabel
		if (facts[label] != "") != wanted || labels[label] != facts[label] {
			problems = append(problems, fmt.Errorf("label %s is %q, the index says %q", label, labels[label], facts[label]))
		}
	}
	return problems
}
