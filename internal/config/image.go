package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Image is one that is made of every channel, or of some.
type Image struct {
	Folder     string   // that says what is in the image
	Repository string   // template of its name below each destination: see RepositoryOf
	Suffix     string   // of every tag
	Channels   []string // nil: all
	Tags       []string // templates of the tags that move; nil: those of the channel
}

// Name is what the image is called: the last part of its folder.
func (i Image) Name() string {
	if i.Folder == "" {
		return ""
	}
	return filepath.Base(i.Folder)
}

// String is Name.
func (i Image) String() string { return i.Name() }

// RepositoryOf is the repository for a channel, below a destination.
func (i Image) RepositoryOf(channel string) string {
	return strings.ReplaceAll(i.Repository, channelPlaceholder, channel)
}

// IsOf tells whether the image is made of a channel.
func (i Image) IsOf(channel string) bool {
	return i.Channels == nil || slices.Contains(i.Channels, channel)
}

// TagsOf are the tags that the image of a channel's head has.
func (i Image) TagsOf(ch Channel) Tags {
	if i.Tags != nil {
		return Tags{i.Tags, i.Suffix}
	}
	return Tags{ch.Tags, i.Suffix}
}

// ImagesOf gives the images that are made of a channel.
func (c Config) ImagesOf(ch Channel) []Image {
	return slices.DeleteFunc(slices.Clone(c.Images), func(i Image) bool { return !i.IsOf(ch.Name) })
}

const (
	channelPlaceholder = "{channel}"
	maxBelow           = 255 - maxPrefix - 1 // what is left of a repository's name below a destination
	wantRepository     = "a name in a registry or a template of one, such as nixpkgs-{channel} or attic-server"
	wantSuffix         = "at most 32 of A-Z a-z 0-9 _ . -, such as -slim"
)

// named is a component of a repository's name that may have the channel in it.
var named = strings.ReplaceAll(component, `[a-z0-9]+`, `(?:[a-z0-9]|\{channel\})+`)

var (
	imageNamePattern = regexp.MustCompile(`^` + component + `$`)
	imageRepository  = checked(wantRepository, checkImageRepository).like(named + `(?:/` + named + `)*`)
	suffix           = matching(wantSuffix, `[A-Za-z0-9_.-]{1,32}`, func(s string) error { return fmt.Errorf("bad suffix %q", s) })
)

// checkImageFolder holds the name that a folder gives its image against what can
// be part of a repository's name, a file's and a label's.
func checkImageFolder(path string) error {
	if name := filepath.Base(path); len(name) > maxChannel || !imageNamePattern.MatchString(name) {
		return complete{fmt.Errorf("bad folder: the image would be called %q (want a folder whose name is of a-z, 0-9 and single . _ - between them)", brief(name))}
	}
	return nil
}

func checkImageRepository(s string) error {
	name := strings.ReplaceAll(s, channelPlaceholder, "x")
	if placeholder := placeholderPattern.FindString(name); placeholder != "" {
		return fmt.Errorf("bad repository %q: unknown placeholder %q", s, placeholder)
	}
	if err := checkPath(name); err != nil {
		return fmt.Errorf("bad repository %q: %w", s, err)
	}
	return nil
}

// image is the table of an image's keys. What depends on the rest of the file is
// checked when that is read.
func (c *Config) image(path form[string]) func(*Image) []key {
	folder := form[string]{want: "a path", parse: func(s string) (string, error) {
		resolved, err := path.parse(s)
		if err == nil {
			err = checkImageFolder(resolved)
		}
		return resolved, err
	}}
	return func(i *Image) []key {
		return []key{
			{name: "folder", names: true, missing: "missing", rule: text(&i.Folder, folder)},
			{name: "repository", value: "'nixpkgs-{channel}'", rule: text(&i.Repository, imageRepository)},
			{name: "suffix", rule: text(&i.Suffix, suffix)},
			{name: "channels", rule: texts(&i.Channels, "channel", "a list of channels of this file", channelName).and(c.known)},
			{name: "tags", rule: texts(&i.Tags, "tag", "a list of tags, such as [ latest ]", tag)},
		}
	}
}

// known has the channels of an image be those of the file.
func (c *Config) known(p *parser, v value) {
	p.later = append(p.later, func() {
		if len(c.Channels) == 0 || v.node.Kind != yaml.SequenceNode {
			return
		}
		for n, node := range v.node.Content {
			item := v.item(n, node).resolved()
			is := func(ch Channel) bool { return ch.Name == item.node.Value }
			if channelPattern.MatchString(item.node.Value) && !slices.ContainsFunc(c.Channels, is) {
				p.errorf(item, "%q is not one of the channels (want %s)", item.node.Value, alternatives(c.Channels, Channel.String))
			}
		}
	})
}

// distinct has no two images set the same tag of one repository: neither two of
// the list, nor one of two channels.
func (c *Config) distinct(p *parser, v value) {
	p.later = append(p.later, func() {
		if v.node.Kind != yaml.SequenceNode || len(v.node.Content) != len(c.Images) {
			return // an error has been told
		}
		var places []place
		for n, i := range c.Images {
			at := v.item(n, v.node.Content[n]).resolved()
			for _, ch := range c.Channels {
				if i.Repository == "" || !i.IsOf(ch.Name) {
					continue
				}
				here := place{at, i, ch, i.RepositoryOf(ch.Name)}
				if here.tell(p, places) {
					break
				}
				places = append(places, here)
			}
		}
	})
}

// place is where the image of a channel goes.
type place struct {
	at         value
	image      Image
	channel    Channel
	repository string
}

// tell tells the first problem of a place, of others that are good.
func (pl place) tell(p *parser, others []place) bool {
	if len(pl.repository) > maxBelow {
		p.errorf(pl.at, "the repository %s is longer than %d characters", brief(pl.repository), maxBelow)
		return true
	}
	tags := pl.image.TagsOf(pl.channel)
	for _, template := range tags.Templates {
		if _, err := tag.read(template + tags.Suffix); err != nil {
			p.errorf(pl.at, "with its suffix: %v", err)
			return true
		}
	}
	for _, other := range others {
		if other.repository != pl.repository {
			continue
		}
		tag, clashes := tags.clash(other.image.TagsOf(other.channel))
		switch {
		case !clashes:
		case other.at.node == pl.at.node:
			p.errorf(pl.at, "its images of %s and %s would have the same tag %s:%s (want {channel} in its repository, or one of its channels)",
				other.channel.Name, pl.channel.Name, pl.repository, tag)
			return true
		default:
			p.errorf(pl.at, "it would have the tag %s:%s, as the image on line %d (want another suffix or repository)", pl.repository, tag, other.at.node.Line)
			return true
		}
	}
	return false
}
