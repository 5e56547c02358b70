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

// subject prepares a channel.
func (f *Factory) subject(ch config.Channel) (subject, error) {
	s := subject{channel: ch}
	var err error
	if s.recipe, err = f.Recipe(ch); err != nil {
		return s, fmt.Errorf("recipe: %w", err)
	}
	for _, dest := range f.Config.Publish {
		repo, err := f.Repository(dest, ch.Name)
		if err != nil {
			return s, fmt.Errorf("publish to %s: %w", dest.To, err)
		}
		s.repositories = append(s.repositories, repo)
	}
	return s, nil
}

// Recipe returns the recipe that a channel's images are made by.
func (f *Factory) Recipe(ch config.Channel) (recipe.ID, error) {
	return recipe.Identify(f.Config.Image, recipe.Settings{
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

// revision returns a commit of a channel, its head if rev is empty.
func (f *Factory) revision(ctx context.Context, channel, rev string) (revision, error) {
	ch, err := f.Channel(channel)
	if err != nil {
		return revision{}, err
	}
	s, err := f.subject(ch)
	if err != nil {
		return revision{}, err
	}
	head, err := f.Heads.Head(ctx, channel)
	if err != nil {
		return revision{}, fmt.Errorf("head: %w", err)
	}
	commit := head.Commit
	if rev != "" && rev != head.Rev.String() {
		if commit, err = f.Heads.Commit(ctx, rev); err != nil {
			return revision{}, err
		}
	}
	if err := plausible(commit, f.Now()); err != nil {
		return revision{}, err
	}
	return revision{subject: s, commit: commit, isHead: commit.Rev == head.Rev}, nil
}
