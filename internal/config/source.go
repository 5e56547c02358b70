package config

import "maps"

const sourceLabel = "org.opencontainers.image.source"

// DefaultSource is where images come from as long as nobody says otherwise.
const DefaultSource = "https://github.com/nixpkgs-factory/factory"

// SetSource says where images come from, unless the file does so itself. It
// enters the images and the recipe like any other label. The default does not:
// whoever says it makes the same images as those who say nothing.
func (c *Config) SetSource(address string) error {
	if _, found := c.Labels[sourceLabel]; found || address == DefaultSource {
		return nil
	}
	if _, err := label.read(address); err != nil {
		return err
	}
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[sourceLabel] = address
	c.Labels = labels
	return nil
}
