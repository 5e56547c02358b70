package config

import "maps"

const sourceLabel = "org.opencontainers.image.source"

// SetSource says where images come from, unless the file does so itself. It
// enters the images and the recipe like any other label.
func (c *Config) SetSource(address string) error {
	if _, found := c.Labels[sourceLabel]; found {
		return nil
	}
	if err := checkLabel(address); err != nil {
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
