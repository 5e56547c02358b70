// Package ownimage makes the factory's own image out of one that the factory has
// published: the same tools and the same Nix, and on top one layer with the
// program, the image folder and the configuration.
//
// Nothing of it is built in a container. The same base, the same sources and the
// same Go give the same digest on every machine.
package ownimage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// Where things are in the image.
const (
	ProgramPath = "/usr/local/bin/factory"
	ConfigDir   = "/etc/factory"
	StateDir    = "/var/lib/factory"
)

// Facts are what labels and annotations say of an image.
type Facts struct {
	BaseName string // reference of the base
	Source   string // URL of the sources; "" leaves it out
	Revision string // commit of the sources; "" leaves it out
}

// Content is what the layer is made of.
type Content struct {
	Programs map[config.System]string // files of the compiled factory
	Images   []string                 // image folders
	Config   string                   // channels.yaml
	Scratch  string                   // folder for the layers, which has to outlive the image

	// Bare leaves out the base but for its certificates: what is left is all that the
	// factory needs. There is no shell, no Nix and nothing that a configuration may call.
	Bare bool
}

// Index makes the image for all systems of the base.
func Index(base v1.ImageIndex, content Content, facts Facts) (v1.ImageIndex, error) {
	systems, err := systemsOf(base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	manifest, err := base.IndexManifest()
	if err != nil {
		return nil, err
	}
	digest, err := base.Digest()
	if err != nil {
		return nil, err
	}
	labels := facts.labels(digest, manifest.Annotations[image.CreatedLabel])
	if content.Bare {
		delete(labels, "org.opencontainers.image.base.name")
		delete(labels, "org.opencontainers.image.base.digest")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, desc := range manifest.Manifests {
		img, err := base.Image(desc.Digest)
		if err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		own, err := assemble(img, systems[i], content, labels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", systems[i], err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image.Plain{Image: own},
			Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: desc.Platform},
		})
	}
	return mutate.Annotations(index, labels).(v1.ImageIndex), nil
}

// systemsOf gives the systems of an index that the factory has made, in its order.
func systemsOf(base v1.ImageIndex) ([]config.System, error) {
	manifest, err := base.IndexManifest()
	if err != nil {
		return nil, err
	}
	if err := image.Made(manifest.Annotations); err != nil {
		return nil, err
	}
	systems := make([]config.System, len(manifest.Manifests))
	for i, desc := range manifest.Manifests {
		if systems[i], err = config.ParseSystem(desc.Annotations[image.SystemLabel]); err != nil {
			return nil, fmt.Errorf("%s: %w", desc.Digest, err)
		}
	}
	return systems, nil
}

// labels are the same for every system. None of the base's is among them: the
// image is no base image, and factory inspect is not to take it for one.
func (f Facts) labels(base v1.Hash, created string) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       "factory",
		"org.opencontainers.image.description": "Follows NixOS channels and publishes a base image for every new commit",
		"org.opencontainers.image.licenses":    "MIT",
		"org.opencontainers.image.source":      f.Source,
		"org.opencontainers.image.base.name":   f.BaseName,
		"org.opencontainers.image.base.digest": base.String(),
		image.RevisionLabel:                    f.Revision,
		image.CreatedLabel:                     created,
	}
	maps.DeleteFunc(labels, func(_, text string) bool { return text == "" })
	return labels
}

// assemble puts the layer on the image of one system. The base's own layers are
// passed on as they are, so that a registry which has them can mount them.
func assemble(base v1.Image, system config.System, content Content, labels map[string]string) (v1.Image, error) {
	opened, err := image.Open(base)
	if err != nil {
		return nil, err
	}
	conf := opened.Config.DeepCopy()
	var adds []mutate.Addendum
	more := runnerFiles
	if content.Bare {
		conf.Config = v1.Config{Env: bareEnv}
		more, err = bareFiles(opened)
	} else {
		adds, err = addenda(opened)
	}
	if err != nil {
		return nil, err
	}
	top, err := layer(system, content, more)
	if err != nil {
		return nil, err
	}
	conf.RootFS.DiffIDs, conf.History = nil, nil
	conf.Config.Entrypoint = []string{ProgramPath}
	conf.Config.Cmd = []string{"run"}
	conf.Config.WorkingDir = StateDir
	conf.Config.Labels = labels
	conf.Config.Env = withEnv(conf.Config.Env,
		"FACTORY_CONFIG="+ConfigDir+"/channels.yaml",
		"FACTORY_STATE="+StateDir+"/factory.db",
		"FACTORY_CACHE_DIR="+StateDir+"/work",
	)
	if rev := labels[image.RevisionLabel]; rev != "" {
		// The program does not know it: equal sources are to give equal layers.
		conf.Config.Env = withEnv(conf.Config.Env, "FACTORY_REVISION="+rev)
	}
	if source := labels["org.opencontainers.image.source"]; source != "" {
		// So that it makes the same images as the workflow that has made it.
		conf.Config.Env = withEnv(conf.Config.Env, "FACTORY_IMAGE_SOURCE="+source)
	}
	return image.Compose(conf, append(adds, mutate.Addendum{
		Layer:   top,
		History: v1.History{Created: conf.Created, CreatedBy: top.CreatedBy},
	}), labels)
}

// addenda are the base's layers with what its manifest and history say of each.
func addenda(base image.Opened) ([]mutate.Addendum, error) {
	stack, manifest := base.Blobs, base.Manifest
	history := slices.DeleteFunc(slices.Clone(base.Config.History), func(h v1.History) bool { return h.EmptyLayer })
	if len(stack) != len(manifest.Layers) || len(stack) != len(history) {
		return nil, fmt.Errorf("the base has %d layers, its manifest names %d and its history %d", len(stack), len(manifest.Layers), len(history))
	}
	adds := make([]mutate.Addendum, len(stack))
	for i, l := range stack {
		adds[i] = mutate.Addendum{Layer: l, History: history[i], Annotations: manifest.Layers[i].Annotations}
	}
	return adds, nil
}

// withEnv sets variables in place of those of the same name, or behind the others.
func withEnv(env []string, settings ...string) []string {
	env = slices.Clone(env)
	for _, s := range settings {
		name, _, _ := strings.Cut(s, "=")
		i := slices.IndexFunc(env, func(had string) bool { return strings.HasPrefix(had, name+"=") })
		if i >= 0 {
			env[i] = s
		} else {
			env = append(env, s)
		}
	}
	return env
}

// layer packs what the image has beyond the base.
func layer(system config.System, content Content, more []layers.File) (*layers.Layer, error) {
	program := content.Programs[system]
	if program == "" {
		return nil, errors.New("no program for this system")
	}
	files, err := content.files(program)
	if err != nil {
		return nil, err
	}
	return layers.Packer{Dir: content.Scratch, Encoding: layers.Gzip}.Files(append(files, more...), "factory, image folder, configuration")
}
