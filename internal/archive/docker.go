package archive

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// dockerManifest lists the images of a docker archive.
const dockerManifest = "manifest.json"

// dockerEntry is an image in a docker archive. Paths are names of members.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readDocker reads a docker archive.
func readDocker(m members, selected string) (Set, error) {
	data, err := m.document(dockerManifest)
	if err != nil {
		return Set{}, err
	}
	var entries []dockerEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return Set{}, memberError(dockerManifest, said.Error(err))
	}
	entry, err := chooseDocker(entries, selected)
	if err != nil {
		return Set{}, memberError(dockerManifest, err)
	}
	img, err := dockerImage(m, entry)
	return Set{Images: []Image{img}}, err
}

func dockerImage(m members, entry dockerEntry) (Image, error) {
	file, err := clean(entry.Config)
	if err != nil {
		return Image{}, err
	}
	config, err := m.document(file)
	if err != nil {
		return Image{}, err
	}
	platform, diffIDs, err := parseConfig(config, len(entry.Layers))
	if err != nil {
		return Image{}, memberError(file, said.Error(err))
	}
	img := Image{Config: config, Platform: platform, Names: entry.RepoTags, Layers: make([]Layer, len(diffIDs))}
	for i, file := range entry.Layers {
		if img.Layers[i], err = dockerLayer(m, file, diffIDs[i]); err != nil {
			return Image{}, err
		}
	}
	return img, nil
}

func dockerLayer(m members, file string, want v1.Hash) (Layer, error) {
	file, err := clean(file)
	if err != nil {
		return Layer{}, err
	}
	open, taken, err := m.layer(file)
	if err == nil && taken != nil && taken.DiffID != want {
		err = memberError(file, &DigestError{What: "diffID", Got: taken.DiffID, Want: want})
	}
	return Layer{DiffID: want, From: member(file), Open: open}, err
}

// DigestError says that a layer is not what is promised of it.
type DigestError struct {
	What      string // diffID or digest
	Got, Want v1.Hash
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("its %s is %s, the image says %s", e.What, e.Got, e.Want)
}

// chooseDocker chooses the image that is meant.
func chooseDocker(entries []dockerEntry, selected string) (dockerEntry, error) {
	var names []string
	for _, e := range entries {
		if slices.ContainsFunc(e.RepoTags, func(tag string) bool { return selected != "" && sameName(tag, selected) }) {
			return e, nil
		}
		names = append(names, e.RepoTags...)
	}
	switch {
	case selected != "":
		return dockerEntry{}, notSelected(selected, names)
	case len(entries) == 0:
		return dockerEntry{}, fmt.Errorf("there is no image")
	case len(entries) > 1:
		return dockerEntry{}, several(len(entries), names)
	}
	return entries[0], nil
}

func notSelected(selected string, names []string) error {
	return fmt.Errorf("no image is called %q; there are %s", selected, offered(names))
}

func several(n int, names []string) error {
	return fmt.Errorf("there are %d images: choose one with --select (%s)", n, offered(names))
}

func offered(names []string) string {
	if len(names) == 0 {
		return "no names"
	}
	return said.Line(strings.Join(names, ", "))
}

// sameName tells whether two names mean one image, such as app and
// docker.io/library/app:latest.
func sameName(a, b string) bool {
	one, err := name.ParseReference(a)
	if err != nil {
		return a == b
	}
	other, err := name.ParseReference(b)
	return err == nil && one.Name() == other.Name()
}
