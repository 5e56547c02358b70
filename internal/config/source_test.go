package config

import (
	"maps"
	"strings"
	"testing"
)

func TestSetSource(t *testing.T) {
	const name, fork = "org.opencontainers.image.source", "https://github.com/org/fork"
	for _, tt := range []struct {
		name         string
		labels, want map[string]string
	}{
		{"no labels", nil, map[string]string{name: fork}},
		{"other labels", map[string]string{"a": "b"}, map[string]string{"a": "b", name: fork}},
		{"said by the file", map[string]string{name: "https://example.org"}, map[string]string{name: "https://example.org"}},
	} {
		c := Config{Labels: tt.labels}
		before := maps.Clone(tt.labels)
		if err := c.SetSource(fork); err != nil || !maps.Equal(c.Labels, tt.want) || !maps.Equal(tt.labels, before) {
			t.Errorf("%s: labels %v, %v, want %v", tt.name, c.Labels, err, tt.want)
		}
	}
	c := new(Config)
	if err := c.SetSource(DefaultSource); err != nil || c.Labels != nil {
		t.Errorf("the default: labels %v, %v, want none", c.Labels, err)
	}
	for _, bad := range []string{"a\nb", strings.Repeat("x", 1025)} {
		if err := new(Config).SetSource(bad); err == nil {
			t.Errorf("SetSource(%q): no error", bad)
		}
	}
}
