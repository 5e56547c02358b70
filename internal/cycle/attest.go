package cycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/pkgmeta"
	"github.com/nixpkgs-factory/factory/internal/provenance"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/sbom"
	"github.com/nixpkgs-factory/factory/internal/sign"
)

// What is said of an image goes beside it before a tag leads to it: an SBOM beside that
// of each system, provenance beside the index, and signatures of all four. None of it
// changes a byte of the image. Where it cannot be said, no tag is set: whoever pulls by
// tag, and wants a signature, finds one, and the next cycle tries again.

// signer is the key that images are signed by; nil if they are not.
func (f *Factory) signer() (*sign.Key, error) {
	if f.Sign == nil {
		return nil, nil
	}
	key, err := f.Sign()
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return key, nil
}

// attest says of an image that was pushed all that is to be said, wherever it is.
func (f *Factory) attest(ctx context.Context, w work, s stacks, images []image.Part, j job, index v1.ImageIndex) error {
	said, err := f.describe(ctx, w, s, images, j.targets)
	if err != nil {
		return err
	}
	return f.vouch(ctx, j, index, said)
}

// describe puts an SBOM beside the image of each system, and returns the digests of
// what is said.
func (f *Factory) describe(ctx context.Context, w work, s stacks, images []image.Part, targets []target) ([]v1.Hash, error) {
	if !f.Config.Attest {
		return nil, nil
	}
	var said []v1.Hash
	for i, one := range s.each {
		digest, err := f.describeOne(ctx, w, one, images[i].Image, targets)
		if err != nil {
			return nil, fmt.Errorf("%s: SBOM: %w", one.system.Nix, err)
		}
		said = append(said, digest)
	}
	return said, nil
}

// billsOf are the digests of the SBOMs that other machines have made.
func billsOf(parts []Part) (said []v1.Hash) {
	for _, part := range parts {
		if part.Bill != (v1.Hash{}) {
			said = append(said, part.Bill)
		}
	}
	return said
}

func (f *Factory) describeOne(ctx context.Context, w work, s stack, img v1.Image, targets []target) (v1.Hash, error) {
	subject, err := partial.Descriptor(img)
	if err != nil {
		return v1.Hash{}, err
	}
	text, err := f.bill(ctx, w, s, img, subject.Digest)
	if err != nil {
		return v1.Hash{}, err
	}
	a := registry.Artifact{Type: sbom.MediaType, Content: text}
	desc, err := a.Describe(*subject)
	if err != nil {
		return v1.Hash{}, err
	}
	for _, t := range targets {
		if _, err := t.repo.Attach(ctx, *subject, a); err != nil {
			return v1.Hash{}, fmt.Errorf("%s: %w", t.ref, err)
		}
	}
	return desc.Digest, nil
}

// bill writes down what is in the image of one system.
func (f *Factory) bill(ctx context.Context, w work, s stack, of v1.Image, digest v1.Hash) ([]byte, error) {
	config, err := of.ConfigFile()
	if err != nil {
		return nil, err
	}
	known, err := f.ask(ctx, w, s)
	if err != nil {
		return nil, err
	}
	objects := s.contents.closure
	if s.set.HasNixpkgs() {
		objects = slices.Concat(objects, w.src.objects)
		for _, p := range w.src.paths() {
			known[p] = f.metaOfSource(w)
		}
	}
	return sbom.Image{
		Name:    w.image.RepositoryOf(w.channel.Name),
		Digest:  digest.String(),
		Arch:    s.system.Arch,
		Created: config.Created.Time,
		Objects: objects,
		Known:   known,
	}.SPDX()
}

// ask has nixpkgs say what it knows of what is in the image. A nixpkgs that refuses
// says nothing, which is true of it.
func (f *Factory) ask(ctx context.Context, w work, s stack) (map[nix.StorePath]sbom.Meta, error) {
	q := pkgmeta.Question{Nixpkgs: w.src.unpacked, System: s.system.Nix}
	for _, tool := range s.set.Tools {
		q.Attrs = append(q.Attrs, tool.Attr)
	}
	for _, info := range s.contents.closure {
		q.Paths = append(q.Paths, info.Path)
	}
	asking := f.Progress.Start(w.label+" "+s.system.Nix+" licences", 0)
	known, err := pkgmeta.Ask(ctx, w.nix, filepath.Join(w.own, "meta-"+s.system.Nix), q)
	asking.Done()
	if errors.As(err, new(*evaluator.EvalError)) {
		w.log.Warn("this nixpkgs does not say licences and sources: the SBOM goes without", "system", s.system.Nix, "error", err)
		return make(map[nix.StorePath]sbom.Meta), nil
	}
	return known, err
}

// metaOfSource is what is known of the nixpkgs in an image. Its licence is in the
// tree, in the file COPYING.
func (f *Factory) metaOfSource(w work) sbom.Meta {
	return sbom.Meta{
		Name:     "nixpkgs",
		Version:  w.commit.Rev.String(),
		Licences: []sbom.Licence{{SPDX: "MIT"}},
		Sources:  []sbom.Source{{URL: "git+https://github.com/" + f.Config.Upstream.Repository + "@" + w.commit.Rev.String(), Hash: w.src.tree.NarHash.SRI(), Tree: true}},
	}
}

// vouch puts the provenance beside an image, and signs it, what it consists of, and
// what is said: the SBOMs are there.
func (f *Factory) vouch(ctx context.Context, j job, index v1.ImageIndex, said []v1.Hash) error {
	key, err := f.signer()
	if err != nil {
		return err
	}
	if key == nil && !f.Config.Attest {
		return nil
	}
	subject, err := partial.Descriptor(index)
	if err != nil {
		return err
	}
	var artifacts []registry.Artifact
	if f.Config.Attest {
		origin, err := f.origin(j, index, subject.Digest)
		if err != nil {
			return fmt.Errorf("provenance: %w", err)
		}
		desc, err := origin.Describe(*subject)
		if err != nil {
			return err
		}
		artifacts, said = append(artifacts, origin), append(slices.Clone(said), desc.Digest)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	said = slices.Clone(said)
	for _, desc := range manifest.Manifests { // some look at what they pull only, the image of one system
		said = append(said, desc.Digest)
	}
	said = append(said, subject.Digest)
	for _, t := range j.targets {
		if err := vouchAt(ctx, t, *subject, artifacts, said, key); err != nil {
			return fmt.Errorf("%s: %w", t.ref, err)
		}
	}
	return nil
}

// vouchAt puts what is said of an index beside it, and signs it and all of digests.
func vouchAt(ctx context.Context, t target, subject v1.Descriptor, artifacts []registry.Artifact, digests []v1.Hash, key *sign.Key) error {
	if _, err := t.repo.Attach(ctx, subject, artifacts...); err != nil {
		return fmt.Errorf("provenance: %w", err)
	}
	if err := signAll(ctx, t.repo, digests, key); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// signAll signs what is in a repository, the last one last: whoever finds that one
// signed finds the others signed, too.
func signAll(ctx context.Context, repo registry.Repository, digests []v1.Hash, key *sign.Key) error {
	if key == nil {
		return nil
	}
	for _, digest := range digests {
		if _, err := sign.Ensure(ctx, repo, digest, key); err != nil {
			return err
		}
	}
	return nil
}

// origin is the provenance of an image, as far as the commit and the index tell it:
// machines that have made one image together say the same as one that has made all
// of it.
func (f *Factory) origin(j job, index v1.ImageIndex, digest v1.Hash) (registry.Artifact, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return registry.Artifact{}, err
	}
	of := provenance.Image{
		Name:       j.image.RepositoryOf(j.channel.Name),
		Digest:     digest.String(),
		Repository: f.Config.Upstream.Repository,
		Channel:    j.channel.Name,
		Revision:   j.commit.Rev.String(),
		Tree:       j.commit.Tree.String(),
		ImageName:  j.image.Name(),
		Recipe:     string(j.recipe),
		Keys:       f.keys(),
		Builder:    f.Builder,
	}
	if text := manifest.Annotations[image.NarHashLabel]; text != "" {
		if of.NarHash, err = nix.ParseHash(text); err != nil {
			return registry.Artifact{}, err
		}
	}
	for _, system := range image.Systems(manifest) {
		of.Systems = append(of.Systems, system.Nix)
	}
	text, err := of.Statement()
	return registry.Artifact{
		Type:        provenance.MediaType,
		Content:     text,
		Annotations: map[string]string{"in-toto.io/predicate-type": provenance.PredicateType},
	}, err
}
