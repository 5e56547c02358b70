package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// maxDocument bounds a manifest and a configuration, in bytes.
const maxDocument = 8 << 20

// open reads the manifests.
func (v *verification) open(of Target) error {
	if of.Index != nil {
		return v.openIndex(of.Index)
	}
	manifest, err := of.Image.Manifest()
	if err != nil {
		return err
	}
	if err := made(manifest.Annotations); err != nil {
		return err
	}
	v.facts = manifest.Annotations
	if v.digest, err = of.Image.Digest(); err != nil {
		return err
	}
	size, err := of.Image.Size()
	if err != nil {
		return err
	}
	v.index = newCheck("", "index")
	v.index.not("this is the image of one platform, without an index")
	v.openPart(v1.Descriptor{MediaType: manifest.MediaType, Size: size, Digest: v.digest}, of.Image)
	return nil
}

// made refuses what nothing is known of.
func made(annotations map[string]string) error {
	if err := image.Made(annotations); err != nil {
		return fmt.Errorf("%w: %w: nothing says which store objects it has, and of which commit", ErrNotMade, err)
	}
	return nil
}

func (v *verification) openIndex(index v1.ImageIndex) error {
	raw, err := index.RawManifest()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if err := made(manifest.Annotations); err != nil {
		return err
	}
	v.facts = manifest.Annotations
	if v.digest, _, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
		return err
	}
	c := newCheck("", "index")
	v.index = c
	if said, err := index.Digest(); err != nil || said != v.digest {
		c.add("its bytes have the digest %s, it was asked for as %s", v.digest, said)
	}
	if manifest.MediaType != types.OCIImageIndex || manifest.SchemaVersion != 2 {
		c.add("media type %q, schema version %d", manifest.MediaType, manifest.SchemaVersion)
	}
	if len(manifest.Manifests) == 0 || len(manifest.Manifests) > mostPlatforms {
		return fmt.Errorf("an index of %d images", len(manifest.Manifests))
	}
	holdNames(c, "the index", raw)
	v.openParts(c, index, manifest)
	if len(v.parts) == 0 {
		return fmt.Errorf("the index has no image for the platform, but for %s", platforms(manifest))
	}
	return nil
}

// mostPlatforms bounds the images of an index.
const mostPlatforms = 20

func (v *verification) openParts(c *Check, index v1.ImageIndex, manifest *v1.IndexManifest) {
	seen := make(map[string]bool)
	for _, desc := range manifest.Manifests {
		name := platformOf(desc)
		if seen[name] {
			c.add("two images for %s", name)
		}
		seen[name] = true
		if desc.Platform == nil || registry.ForNoPlatform(desc) || desc.MediaType != types.OCIManifestSchema1 {
			c.add("%s: an entry of type %q for the platform %s, which the factory does not make", desc.Digest, desc.MediaType, name)
			continue
		}
		if v.Wanted != nil && !v.Wanted(*desc.Platform) {
			continue
		}
		if desc.Size > maxDocument {
			c.add("%s: a manifest of %d bytes", desc.Digest, desc.Size)
			continue
		}
		img, err := index.Image(desc.Digest)
		if err != nil {
			c.add("%s: %v", name, err)
			continue
		}
		v.openPart(desc, img)
	}
	c.say("platforms: %s; looked at: %d", platforms(manifest), len(v.parts))
}

func platformOf(desc v1.Descriptor) string {
	if desc.Platform == nil {
		return "none"
	}
	return path.Join(desc.Platform.OS, desc.Platform.Architecture, desc.Platform.Variant)
}

func platforms(manifest *v1.IndexManifest) string {
	text := ""
	for i, desc := range manifest.Manifests {
		if i > 0 {
			text += ", "
		}
		text += platformOf(desc)
	}
	return text
}

// openPart reads the manifest and the configuration of one platform's image. Where
// they do not fit each other, nothing else of the image is looked at.
func (v *verification) openPart(desc v1.Descriptor, img v1.Image) {
	p := &part{system: platformOf(desc), digest: desc.Digest, found: make(map[nix.StorePath]object)}
	v.parts = append(v.parts, p)
	c := p.check("manifest")
	if err := p.readManifest(c, desc, img); err != nil {
		c.add("%v", err)
		return
	}
	conf := p.opened.Config
	if system, err := config.ParseSystem(conf.Config.Labels[image.SystemLabel]); err == nil {
		p.rename(system.Nix)
	}
	if at := desc.Platform; at != nil && (at.OS != conf.OS || at.Architecture != conf.Architecture || at.Variant != conf.Variant) {
		c.add("the index says platform %s, the configuration %s", platformOf(desc), path.Join(conf.OS, conf.Architecture, conf.Variant))
	}
	if conf.RootFS.Type != "layers" || len(conf.History) != len(p.opened.Manifest.Layers) {
		c.add("root file system of type %q, a history of %d steps for %d layers", conf.RootFS.Type, len(conf.History), len(p.opened.Manifest.Layers))
	}
	stack, err := p.opened.Stack()
	if err != nil {
		c.add("%v", err)
		return
	}
	if len(stack) > mostLayers {
		c.add("%d layers, more than %d", len(stack), mostLayers)
		return
	}
	for i, l := range stack {
		if (l.MediaType != layers.Gzip.MediaType() && l.MediaType != layers.Zstd.MediaType()) || l.Size < 0 || len(l.URLs) > 0 {
			c.add("layer %d: of type %q with %d bytes, from %d addresses", i, l.MediaType, l.Size, len(l.URLs))
			return
		}
	}
	c.say("manifest and configuration; layers: %d", len(stack))
	p.stack = stack
}

// mostLayers is what container engines bear.
const mostLayers = 127

// readManifest holds manifest and configuration against their digests and sizes, and
// opens the image.
func (p *part) readManifest(c *Check, desc v1.Descriptor, img v1.Image) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	holdBytes(c, "the manifest", raw, desc)
	holdNames(c, "the manifest", raw)
	if manifest.MediaType != types.OCIManifestSchema1 || manifest.SchemaVersion != 2 || manifest.Config.MediaType != types.OCIConfigJSON {
		c.add("media type %q, schema version %d, configuration of type %q", manifest.MediaType, manifest.SchemaVersion, manifest.Config.MediaType)
	}
	if manifest.Config.Size > maxDocument {
		return fmt.Errorf("a configuration of %d bytes", manifest.Config.Size)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	holdBytes(c, "the configuration", config, manifest.Config)
	holdConfig(c, config)
	p.opened, err = image.Open(img)
	return err
}

// holdConfig refuses what the factory writes into no configuration: commands that a
// build on the image runs, or an engine by itself, and names that a reader may know.
func holdConfig(c *Check, raw []byte) {
	var conf v1.ConfigFile
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&conf); err != nil {
		c.add("configuration: %v", err)
		return
	}
	holdNames(c, "the configuration", raw)
	had := conf.Config
	made := v1.Config{
		Env: had.Env, Entrypoint: had.Entrypoint, Cmd: had.Cmd, WorkingDir: had.WorkingDir, User: had.User,
		StopSignal: had.StopSignal, Labels: had.Labels, ExposedPorts: had.ExposedPorts, Volumes: had.Volumes,
	}
	if !reflect.DeepEqual(had, made) {
		c.add("configuration: has settings that the factory does not make: a health check, ONBUILD, or others")
	}
}

func holdBytes(c *Check, what string, raw []byte, desc v1.Descriptor) {
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil || digest != desc.Digest || int64(len(raw)) != desc.Size {
		c.add("%s has %d bytes with the digest %s, and is named as %d bytes with %s", what, len(raw), digest, desc.Size, desc.Digest)
	}
}

// holdNames refuses an object of a document with the same name twice: readers differ in
// which one counts. The document was read before, so it is not nested too deeply.
func holdNames(c *Check, what string, raw []byte) {
	if err := once(json.NewDecoder(bytes.NewReader(raw))); err != nil {
		c.add("%s: %v", what, err)
	}
}

// once reads a value of JSON. Go's readers do not tell capital letters from others.
func once(d *json.Decoder) error {
	token, err := d.Token()
	open, nested := token.(json.Delim)
	if err != nil || !nested {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			if text = strings.ToLower(text); seen[text] {
				return fmt.Errorf("%q is there twice", text)
			}
			seen[text] = true
		}
		if err := once(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func (p *part) rename(system string) {
	p.system = system
	for _, c := range p.checks {
		c.System = system
	}
}
