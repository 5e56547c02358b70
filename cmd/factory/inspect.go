package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

type inspectOptions struct{ output }

// inspection is the JSON form of the result.
type inspection struct {
	Image     string             `json:"image"`
	Digest    string             `json:"digest"`
	Channel   string             `json:"channel"`
	Rev       string             `json:"rev"`
	Created   string             `json:"created"`
	Sha256    string             `json:"sha256"`
	NarHash   string             `json:"narHash"`
	StorePath string             `json:"storePath"`
	Recipe    string             `json:"recipe"`
	Systems   []systemInspection `json:"systems"`
}

type systemInspection struct {
	System string            `json:"system"`
	Digest string            `json:"digest"`
	Layers []layerInspection `json:"layers"`
	Tools  []image.ToolFact  `json:"tools"`
	Size   int64             `json:"size"`
}

type layerInspection struct {
	Digest string   `json:"digest"`
	Size   int64    `json:"size"`
	Key    string   `json:"key"`
	Paths  []string `json:"paths"`
}

func (a *app) inspectCommand() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what an image holds",
		Long: `Shows channel, commit, hashes, tools with their versions, and layers of an image
that the factory made, from its manifests alone: no layer is downloaded.

IMAGE is a reference into a registry, or oci:DIR:NAME:TAG (or @DIGEST) for an OCI
layout.

JSON: {image, digest, channel, rev, created, sha256, narHash, storePath, recipe,
systems: [{system, digest, layers: [{digest, size, key, paths}], tools: [{name,
version, path}], size}]}; sizes are compressed bytes.`,
		Example: `  factory inspect ghcr.io/org/nixpkgs-nixos-26.05:latest
  factory inspect oci:./registry:nixpkgs-nixos-26.05:latest
  factory inspect --output json IMAGE | jq -r '.systems[0].tools[] | "\(.name) \(.version)"'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), args[0], o) },
	}
	o.addFlag(cmd)
	return cmd
}

func (a *app) inspect(ctx context.Context, ref string, o inspectOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	repo, tag, err := a.reference(ref)
	if err != nil {
		return err
	}
	index, err := repo.Index(ctx, tag)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	result, err := inspectIndex(ref, index)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	if o.format == "json" {
		return writeJSON(a.stdout, result)
	}
	return a.inspectTable(result)
}

// reference takes apart a reference to an image: repository and tag or digest.
func (a *app) reference(ref string) (registry.Repository, string, error) {
	if rest, ok := strings.CutPrefix(ref, "oci:"); ok {
		rest, tag, ok := cutLast(rest, "@")
		if !ok {
			rest, tag, ok = cutLast(rest, ":")
		}
		dir, repository, ok2 := cutLast(rest, ":")
		if !ok || !ok2 || dir == "" {
			return nil, "", usageError{fmt.Errorf("%q: want oci:DIR:NAME:TAG or oci:DIR:NAME@DIGEST", ref)}
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, "", err
		}
		return registry.Layout(dir, repository), tag, nil
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, "", usageError{err}
	}
	// REGISTRY_PASSWORD is for the registry of the configuration, not for any
	// that somebody wants to look into.
	var dests []config.Destination
	if c, err := a.config(false); err == nil {
		dests = c.Publish
	}
	keychain, err := a.keychain(dests)
	if err != nil {
		return nil, "", err
	}
	repo, err := registry.Remote(parsed.Context(), registry.Options{Keychain: keychain, UserAgent: userAgent})
	return repo, parsed.Identifier(), err
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func inspectIndex(ref string, index v1.ImageIndex) (inspection, error) {
	digest, err := index.Digest()
	if err != nil {
		return inspection{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return inspection{}, err
	}
	facts := manifest.Annotations
	if facts[image.RecipeLabel] == "" {
		return inspection{}, fmt.Errorf("the factory did not make this image: it has no annotation %s", image.RecipeLabel)
	}
	result := inspection{
		Image:   ref,
		Digest:  digest.String(),
		Channel: facts[image.ChannelLabel],
		Rev:     facts[image.RevisionLabel],
		Created: facts[image.CreatedLabel],
		Sha256:  facts[image.Sha256Label],
		NarHash: facts[image.NarHashLabel],
		Recipe:  facts[image.RecipeLabel],
		Systems: []systemInspection{},
	}
	hash, err := nix.ParseHash(result.NarHash)
	if err != nil {
		return inspection{}, fmt.Errorf("annotation %s: %w", image.NarHashLabel, err)
	}
	path, err := nix.SourcePath(config.SourceName, hash, nil)
	if err != nil {
		return inspection{}, err
	}
	result.StorePath = path.String()
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return inspection{}, err
		}
		system, err := inspectImage(img)
		if err != nil {
			return inspection{}, fmt.Errorf("%s: %w", desc.Digest, err)
		}
		system.Digest = desc.Digest.String()
		result.Systems = append(result.Systems, system)
	}
	return result, nil
}

func inspectImage(img v1.Image) (systemInspection, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return systemInspection{}, err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return systemInspection{}, err
	}
	labels := conf.Config.Labels
	s := systemInspection{System: labels[image.SystemLabel], Layers: []layerInspection{}, Tools: []image.ToolFact{}}
	if err := json.Unmarshal([]byte(labels[image.ToolsLabel]), &s.Tools); err != nil {
		return s, fmt.Errorf("label %s: %w", image.ToolsLabel, err)
	}
	for _, l := range manifest.Layers {
		s.Size += l.Size
		s.Layers = append(s.Layers, layerInspection{
			Digest: l.Digest.String(),
			Size:   l.Size,
			Key:    l.Annotations[layers.KeyAnnotation],
			Paths:  strings.Fields(l.Annotations[layers.PathsAnnotation]),
		})
	}
	return s, nil
}

func (a *app) inspectTable(r inspection) error {
	rows := [][]string{
		{"image", r.Image}, {"digest", r.Digest}, {"channel", r.Channel}, {"commit", r.Rev}, {"created", r.Created},
		{"sha256", r.Sha256}, {"narHash", r.NarHash}, {"nixpkgs", r.StorePath}, {"recipe", r.Recipe},
	}
	if err := table(a.stdout, rows); err != nil {
		return err
	}
	for _, s := range r.Systems {
		fmt.Fprintf(a.stdout, "\n%s: %s in %d layers, %s\n", s.System, humanize.IBytes(uint64(s.Size)), len(s.Layers), s.Digest)
		tools := [][]string{{"  TOOL", "VERSION", "STORE PATH"}}
		for _, t := range s.Tools {
			tools = append(tools, []string{"  " + t.Name, t.Version, t.Path})
		}
		if err := table(a.stdout, tools); err != nil {
			return err
		}
	}
	return nil
}
