package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/said"
)

type inspectOptions struct {
	image string
	output
}

// inspection is the JSON form of the result.
type inspection struct {
	Image     string  `json:"image"`
	ImageName string  `json:"imageName,omitempty"` // only the record knows it
	Digest    v1.Hash `json:"digest"`
	Version   string  `json:"version,omitempty"` // that names the image

	// An image without nixpkgs has none of these.
	Channel   string `json:"channel,omitempty"`
	Rev       string `json:"rev,omitempty"`
	Created   string `json:"created,omitempty"`
	Sha256    string `json:"sha256,omitempty"`
	NarHash   string `json:"narHash,omitempty"`
	StorePath string `json:"storePath,omitempty"`

	Recipe  recipe.ID          `json:"recipe"`
	Nix     string             `json:"nix,omitempty"`
	Systems []systemInspection `json:"systems"`
}

type systemInspection struct {
	System string            `json:"system"`
	Digest v1.Hash           `json:"digest"`
	Layers []layerInspection `json:"layers"`
	Tools  []image.ToolFact  `json:"tools"`
	Size   int64             `json:"size"`

	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	User       string   `json:"user,omitempty"`
	Ports      []string `json:"ports,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
}

type layerInspection struct {
	Digest v1.Hash    `json:"digest"`
	Size   int64      `json:"size"`
	Key    layers.Key `json:"key"`
	Paths  []string   `json:"paths"`
}

func (a *app) inspectCommand() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect IMAGE|CHANNEL",
		Short: "Show what an image holds",
		Long: `Shows channel, commit, hashes, tools with their versions, and layers of an image
that the factory made, from its manifests alone: no layer is downloaded.

IMAGE is a reference into a registry, or oci:DIR:NAME:TAG (or @DIGEST) for an OCI
layout; the digest may be that of one system's image. The name of a CHANNEL of the
configuration stands for its newest image at the first destination that has one.

Which Nix evaluated it, and the image's name in the configuration, are shown where the
state file has a record of the image: any other Nix would have given the same image.

JSON: {image, imageName, digest, version, channel, rev, created, sha256, narHash,
storePath, recipe, nix, systems: [{system, digest, layers: [{digest, size, key,
paths}], tools: [{name, version, path}], size, entrypoint, cmd, user, ports,
volumes}]}; sizes are compressed bytes. What an image does not have is left out:
without nixpkgs it has no channel, commit and hashes.`,
		Example: `  factory inspect nixos-26.05
  factory inspect ghcr.io/org/nixpkgs-nixos-26.05:latest
  factory inspect oci:./registry:nixpkgs-nixos-26.05:latest
  factory inspect --output json IMAGE | jq -r '.systems[0].tools[] | "\(.name) \(.version)"'`,
		Args: oneArgument("IMAGE or CHANNEL"),

		ValidArgsFunction: a.completeChannels,

		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.image, "image", "", "with CHANNEL: name of the image; default: the first one of the channel")
	o.addFlag(cmd)
	return cmd
}

func (a *app) inspect(ctx context.Context, ref string, o inspectOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	named, err := a.locate(ctx, ref, o.image)
	if err != nil {
		return err
	}
	a.doing = "reading " + named.ref
	result, err := readManifests(ctx, named)
	if err != nil {
		if !strings.HasPrefix(err.Error(), named.ref+": ") { // layouts say it
			err = fmt.Errorf("%s: %w", named.ref, err)
		}
		return err
	}
	known := a.recorded(result.Digest)
	result.ImageName, result.Nix = known.ImageName, known.Nix
	if o.format == "json" {
		return writeJSON(a.stdout, result)
	}
	return a.inspectTable(result)
}

// readManifests reads an image's manifests: an index, or the image of one system.
func readManifests(ctx context.Context, named located) (inspection, error) {
	index, err := named.repo.Index(ctx, named.tag)
	if err == nil {
		return inspectIndex(named.ref, index)
	}
	if img, err := single(ctx, named); err == nil {
		return inspectSingle(named.ref, img)
	}
	return inspection{}, err
}

// recorded is what the state file of who published an image knows of it. Where that
// is not at hand it is nothing.
func (a *app) recorded(digest v1.Hash) record.Publication {
	c, err := a.config(false)
	if err != nil {
		return record.Publication{}
	}
	store, err := snapshot(c)
	if err != nil {
		return record.Publication{}
	}
	defer store.Close()
	publications, _ := store.Publications()
	for _, p := range publications {
		if p.Digest == digest {
			return p
		}
	}
	return record.Publication{}
}

// single opens the image of one system. Below an index it has a digest only.
func single(ctx context.Context, named located) (v1.Image, error) {
	digest, err := v1.NewHash(named.tag)
	if err != nil {
		if digest, err = named.repo.Digest(ctx, named.tag); err != nil {
			return nil, err
		}
	}
	return named.repo.Image(ctx, digest)
}

func inspectIndex(ref string, index v1.ImageIndex) (inspection, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return inspection{}, err
	}
	result, err := facts(ref, index, manifest.Annotations)
	if err != nil {
		return inspection{}, err
	}
	for _, desc := range manifest.Manifests {
		img, err := index.Image(desc.Digest)
		if err != nil {
			return inspection{}, err
		}
		system, err := inspectImage(img)
		if err != nil {
			return inspection{}, fmt.Errorf("%s: %w", desc.Digest, err)
		}
		result.Systems = append(result.Systems, system)
	}
	return result, nil
}

func inspectSingle(ref string, img v1.Image) (inspection, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return inspection{}, err
	}
	if len(manifest.Layers) == 0 {
		return inspection{}, fmt.Errorf("this is no image: it has no layers (media type %q)", manifest.MediaType)
	}
	result, err := facts(ref, img, manifest.Annotations)
	if err != nil {
		return inspection{}, err
	}
	system, err := inspectImage(img)
	result.Systems = append(result.Systems, system)
	return result, err
}

// facts are what the annotations of an index, or of an image below it, say.
func facts(ref string, of interface{ Digest() (v1.Hash, error) }, said map[string]string) (inspection, error) {
	digest, err := of.Digest()
	if err != nil {
		return inspection{}, err
	}
	if err := image.Made(said); err != nil {
		return inspection{}, err
	}
	result := inspection{
		Image:   ref,
		Digest:  digest,
		Version: said[image.NamedLabel],
		Channel: said[image.ChannelLabel],
		Rev:     said[image.RevisionLabel],
		Created: said[image.CreatedLabel],
		Sha256:  said[image.Sha256Label],
		NarHash: said[image.NarHashLabel],
		Recipe:  recipe.ID(said[image.RecipeLabel]),
		Systems: []systemInspection{},
	}
	if result.Rev == "" {
		return result, nil
	}
	hash, err := nix.ParseHash(result.NarHash)
	if err != nil {
		return inspection{}, fmt.Errorf("annotation %s: %w", image.NarHashLabel, err)
	}
	path, err := nix.SourcePath(config.SourceName, hash, nil)
	result.StorePath = path.String()
	return result, err
}

func inspectImage(img v1.Image) (systemInspection, error) {
	opened, err := image.Open(img)
	if err != nil {
		return systemInspection{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return systemInspection{}, err
	}
	conf := opened.Config.Config
	labels := conf.Labels
	s := systemInspection{
		System: labels[image.SystemLabel], Digest: digest, Layers: []layerInspection{},
		Entrypoint: conf.Entrypoint, Cmd: conf.Cmd, User: conf.User,
		Ports: slices.Sorted(maps.Keys(conf.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(conf.Volumes)),
	}
	if s.Tools, err = image.Tools(labels); err != nil {
		return s, err
	}
	for _, l := range image.Described(opened.Manifest) {
		s.Size += l.Size
		s.Layers = append(s.Layers, layerInspection{Digest: l.Digest, Size: l.Size, Key: l.Key, Paths: l.Paths})
	}
	return s, nil
}

func (a *app) inspectTable(r inspection) error {
	flake := ""
	if r.Rev != "" {
		flake = "github:NixOS/nixpkgs/" + r.Rev
	}
	rows := [][]string{
		{"image", r.Image}, {"name", r.ImageName}, {"digest", r.Digest.String()}, {"version", r.Version}, {"channel", r.Channel}, {"commit", r.Rev}, {"created", r.Created},
		{"sha256", r.Sha256}, {"narHash", r.NarHash}, {"nixpkgs", r.StorePath}, {"flake", flake}, {"recipe", string(r.Recipe)},
	}
	if r.Nix != "" {
		rows = append(rows, []string{"evaluated by", "Nix " + said.Line(r.Nix)})
	}
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })
	if err := a.facts(rows); err != nil {
		return err
	}
	for _, s := range r.Systems {
		digest := s.Digest.String()
		if a.screen(a.stdout) != nil {
			digest = brief(digest)
		}
		fmt.Fprintf(a.stdout, "\n%s: %s in %s, %s\n", said.Line(s.System), humanize.IBytes(uint64(s.Size)), plural(len(s.Layers), "layer"), digest)
		if runs := s.runs(); runs != "" {
			fmt.Fprintln(a.stdout, "  "+said.Line(runs))
		}
		tools := [][]string{{"TOOL", "VERSION", "STORE PATH"}}
		for _, t := range s.Tools {
			tools = append(tools, []string{t.Name, t.Version, t.Path})
		}
		for i := range tools {
			tools[i][0] = "  " + tools[i][0]
		}
		if err := a.table(tools); err != nil {
			return err
		}
	}
	return nil
}

// runs says how a container of an image with an entrypoint runs; others are run
// as somebody tells them.
func (s systemInspection) runs() string {
	if len(s.Entrypoint) == 0 {
		return ""
	}
	text := "runs " + strings.Join(slices.Concat(s.Entrypoint, s.Cmd), " ")
	if s.User != "" {
		text += ", as user " + s.User
	}
	if len(s.Ports) > 0 {
		text += ", listens on " + strings.Join(s.Ports, " ")
	}
	if len(s.Volumes) > 0 {
		text += ", keeps its data in " + strings.Join(s.Volumes, " ")
	}
	return text
}
