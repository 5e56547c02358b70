package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/agnivade/levenshtein"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// nearest returns the name that somebody who wrote word may have meant, "" if
// nothing is near.
func nearest(word string, names []string) string {
	best, fewest := "", max(2, len(word)/4)+1
	for _, name := range names {
		if edits := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(name)); edits < fewest {
			best, fewest = name, edits
		}
	}
	return best
}

// unlike says what was meant instead of a name that is not known.
func unlike(word string, names []string) string {
	if near := nearest(word, names); near != "" {
		return fmt.Sprintf("did you mean %s? There are %s", near, strings.Join(names, ", "))
	}
	return "there are " + strings.Join(names, ", ")
}

func channelNames(c config.Config) []string {
	names := make([]string, len(c.Channels))
	for i, ch := range c.Channels {
		names[i] = ch.Name
	}
	return names
}

// findChannel returns the channel that a flag names.
func findChannel(c config.Config, name string) (config.Channel, error) {
	for _, ch := range c.Channels {
		if ch.Name == name {
			return ch, nil
		}
	}
	return config.Channel{}, usageError{fmt.Errorf("no channel %q in the configuration: %s", name, unlike(name, channelNames(c)))}
}

// findImage returns the image of a channel that a flag names; the first one, if it
// names none.
func findImage(c config.Config, ch config.Channel, name string) (config.Image, error) {
	images := c.ImagesOf(ch)
	var names []string
	for _, i := range images {
		if name == "" || i.Name() == name {
			return i, nil
		}
		names = append(names, i.Name())
	}
	if name == "" {
		return config.Image{}, usageError{fmt.Errorf("no image is made of %s", ch.Name)}
	}
	return config.Image{}, usageError{fmt.Errorf("%s has no image %q: %s", ch.Name, name, unlike(name, names))}
}

// known checks names that flags have: of a channel, and of images that are made of
// it, or of any if no channel is named.
func known(c config.Config, channel string, images ...string) error {
	all := c.Channels
	if channel != "" {
		ch, err := findChannel(c, channel)
		if err != nil {
			return err
		}
		all = []config.Channel{ch}
	}
	for _, name := range images {
		var err error
		for _, ch := range all {
			if _, err = findImage(c, ch, name); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findSystem returns the system of a channel that a flag names.
func findSystem(c config.Config, ch config.Channel, name string) (config.System, error) {
	var names []string
	for _, s := range c.SystemsOf(ch) {
		if s.Nix == name {
			return s, nil
		}
		names = append(names, s.Nix)
	}
	return config.System{}, usageError{fmt.Errorf("%s has no system %q: %s", ch.Name, name, unlike(name, names))}
}

// listen opens the address that a flag names. What can never be listened on is
// wrong usage; an address that somebody else has is not.
func listen(address string) (net.Listener, error) {
	wrong := func(err error) error {
		return usageError{fmt.Errorf("--listen %q: %w (want HOST:PORT, such as 127.0.0.1:5000, or :PORT)", address, err)}
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		var at *net.AddrError
		if errors.As(err, &at) {
			err = errors.New(at.Err)
		}
		return nil, wrong(err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return nil, wrong(fmt.Errorf("bad port %q", port))
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--listen %s: %w", address, syscall.EADDRINUSE)
	}
	if err != nil {
		var at *net.OpError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, wrong(err)
	}
	return l, nil
}

const (
	logText = "text"
	logJSON = "json"
)

// checkFlags checks the flags that every command has.
func (a *app) checkFlags() error {
	if a.logFormat != logText && a.logFormat != logJSON {
		return usageError{fmt.Errorf("--log-format %q: want text or json", a.logFormat)}
	}
	return nil
}
