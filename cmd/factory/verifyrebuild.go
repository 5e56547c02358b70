package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/verify"
)

// rebuilt makes an image again, in a folder of its own and without anything that was
// published, and holds what was published against it.
func (a *app) rebuilt(ctx context.Context, c config.Config, target verify.Target, r verify.Report) (verify.Check, error) {
	dir, err := os.MkdirTemp("", "factory-rebuild-*")
	if err != nil {
		return verify.Check{}, err
	}
	defer os.RemoveAll(dir)
	c.State, c.Cache = filepath.Join(dir, "factory.db"), filepath.Join(dir, "work")
	c.Publish = []config.Destination{{To: "oci:" + dir, Layout: filepath.Join(dir, "registry")}}
	c.Upload, c.Verify = nil, nil
	f, err := a.factory(c)
	if err != nil {
		return verify.Check{}, err
	}
	defer f.Store.Close()
	annotations, err := annotationsOf(target)
	if err != nil {
		return verify.Check{}, err
	}
	check := verify.NewCheck("rebuild")
	ch, img, err := madeBy(f, annotations)
	if err != nil {
		check.Add("%v", err)
		return *check, nil
	}
	a.doing = "making the image again"
	check.Say("made again by %s of %s", img.Name(), ch.Name)
	for _, made := range r.Images {
		again, err := a.again(ctx, f, ch, img, made.System, annotations[image.RevisionLabel])
		if err != nil {
			return verify.Check{}, fmt.Errorf("%s: %w", made.System, err)
		}
		published, err := publishedImage(target, made.Digest)
		if err != nil {
			return verify.Check{}, err
		}
		where, err := verify.Differ(published, again)
		if err != nil {
			return verify.Check{}, err
		}
		if where != "" {
			check.Add("%s: %s", made.System, where)
		}
	}
	return *check, nil
}

func annotationsOf(target verify.Target) (map[string]string, error) {
	if target.Index == nil {
		manifest, err := target.Image.Manifest()
		if err != nil {
			return nil, err
		}
		return manifest.Annotations, nil
	}
	manifest, err := target.Index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return manifest.Annotations, nil
}

func publishedImage(target verify.Target, digest v1.Hash) (v1.Image, error) {
	if target.Index == nil {
		return target.Image, nil
	}
	return target.Index.Image(digest)
}

// madeBy finds the image of the configuration that has the recipe of one that was
// published.
func madeBy(f *cycle.Factory, annotations map[string]string) (config.Channel, config.Image, error) {
	want := recipe.ID(annotations[image.RecipeLabel])
	var tried []string
	for _, ch := range f.Config.Channels {
		if name := annotations[image.ChannelLabel]; name != "" && name != ch.Name {
			continue
		}
		for _, img := range f.Config.ImagesOf(ch) {
			has, err := f.Recipe(ch, img)
			if err != nil {
				return ch, img, err
			}
			if has == want {
				return ch, img, nil
			}
			tried = append(tried, fmt.Sprintf("%s of %s has %s", img.Name(), ch.Name, has))
		}
	}
	if len(tried) == 0 {
		return config.Channel{}, config.Image{}, fmt.Errorf("this configuration does not have the channel %s", annotations[image.ChannelLabel])
	}
	return config.Channel{}, config.Image{}, fmt.Errorf("it was made by the recipe %s, and no image of this configuration has that: take channels.yaml and the image's folder as they were, and a factory of that version (%s)", want, strings.Join(tried, ", "))
}

// again makes the image of one system, of a commit or, where the image has no nixpkgs,
// of the channel's head.
func (a *app) again(ctx context.Context, f *cycle.Factory, ch config.Channel, img config.Image, name, rev string) (v1.Image, error) {
	systems := f.Config.SystemsOf(ch)
	i := slices.IndexFunc(systems, func(s config.System) bool { return s.Nix == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not made for it by this configuration", ch.Name)
	}
	parts, err := f.BuildParts(ctx, ch.Name, rev, systems[i], img.Name())
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, ctx.Err()
	}
	if parts[0].Err != nil {
		return nil, parts[0].Err
	}
	digest, err := v1.NewHash(parts[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("no binary cache has %s any more", parts[0].Lacks.Base())
	}
	made, err := f.Repository(f.Config.Publish[0], img.RepositoryOf(ch.Name))
	if err != nil {
		return nil, err
	}
	return made.Image(ctx, digest)
}
