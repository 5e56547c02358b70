package cycle

import (
	"context"
	"fmt"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

// subject prepares an image of a channel.
func (f *Factory) subject(ch config.Channel, img config.Image) (subject, error) {
	s := subject{channel: ch, image: img, tags: img.TagsOf(ch), label: ch.Name}
	if len(f.Config.ImagesOf(ch)) > 1 {
		s.label += " " + img.Name()
	}
	var err error
	if s.recipe, err = f.Recipe(ch, img); err != nil {
		return s, fmt.Errorf("recipe: %w", err)
	}
	for _, dest := range f.Config.Publish {
		repo, err := f.Repository(dest, img.RepositoryOf(ch.Name))
		if err != nil {
			return s, fmt.Errorf("publish to %s: %w", dest.To, err)
		}
		s.repositories = append(s.repositories, repo)
	}
	return s, nil
}

// Recipe returns the recipe that an image of a channel is made by.
func (f *Factory) Recipe(ch config.Channel, img config.Image) (recipe.ID, error) {
	return recipe.Identify(img.Folder, recipe.Settings{
		Systems:  f.Config.SystemsOf(ch),
		Optional: append([]config.System{}, ch.Optional...), // [] in JSON, where there are none

		SourceNames: f.Config.Source.Names,
		Labels:      f.Config.Labels,
		Repository:  f.Config.Upstream.Repository,
		Keys:        f.keys(),
		Encoding:    f.encoding().Identity(),
		Database:    nixdb.Identity,
	})
}

// keys are the trusted keys: whose signatures are in an image's database depends
// on them.
func (f *Factory) keys() []string {
	var keys []string
	for _, s := range f.Config.Substituters {
		for _, k := range s.Keys {
			keys = append(keys, k.String())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (f *Factory) encoding() layers.Encoding { return layers.Encoding(f.Config.Compression) }

// UnknownChannelError names a channel that the configuration does not have.
type UnknownChannelError struct {
	Channel string
	Known   []string
}

func (e *UnknownChannelError) Error() string {
	return fmt.Sprintf("channel %q is not in the configuration (it has %v)", e.Channel, e.Known)
}

// Channel returns a channel of the configuration by its name, or an
// *UnknownChannelError.
func (f *Factory) Channel(name string) (config.Channel, error) {
	var known []string
	for _, ch := range f.Config.Channels {
		if ch.Name == name {
			return ch, nil
		}
		known = append(known, ch.Name)
	}
	return config.Channel{}, &UnknownChannelError{name, known}
}

// UnknownImageError names an image that is not made of a channel.
type UnknownImageError struct {
	Image, Channel string
	Known          []config.Image
}

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("image %q is not made of channel %s (it has %v)", e.Image, e.Channel, e.Known)
}

// Images returns the images of a channel that are named, in the order of the
// configuration; all of them, if none is. The error is an *UnknownImageError.
func (f *Factory) Images(ch config.Channel, names ...string) ([]config.Image, error) {
	all := f.Config.ImagesOf(ch)
	for _, name := range names {
		if !slices.ContainsFunc(all, func(i config.Image) bool { return i.Name() == name }) {
			return nil, &UnknownImageError{name, ch.Name, all}
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(i config.Image) bool { return !slices.Contains(names, i.Name()) }), nil
}

// revisions returns a commit of a channel, its head if rev is empty, for each of the
// images that are named, or for all.
func (f *Factory) revisions(ctx context.Context, channel, rev string, images ...string) ([]revision, error) {
	ch, err := f.Channel(channel)
	if err != nil {
		return nil, err
	}
	named, err := f.Images(ch, images...)
	if err != nil {
		return nil, err
	}
	head, err := f.Heads.Head(ctx, channel)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	commit := head.Commit
	if rev != "" && rev != head.Rev.String() {
		if commit, err = f.Heads.Commit(ctx, rev); err != nil {
			return nil, err
		}
	}
	if err := plausible(commit, f.Now()); err != nil {
		return nil, err
	}
	var list []revision
	for _, img := range named {
		s, err := f.subject(ch, img)
		if err != nil {
			return nil, err
		}
		list = append(list, revision{subject: s, commit: commit, isHead: commit.Rev == head.Rev})
	}
	return list, nil
}
