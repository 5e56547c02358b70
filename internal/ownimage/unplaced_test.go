package ownimage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// In the image there is no folder to publish to; everything else stays.
func TestUnplaced(t *testing.T) {
	shipped, err := os.ReadFile("../../channels.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "channels.yaml")
	const channels = "channels: [ { name: nixos-26.05 } ]\n"
	for _, tt := range []struct{ name, text, want string }{
		{"shipped", string(shipped), ""},
		{"default", channels, ""},
		{"flow", "publish: [ { to: 'oci:/srv/x' },\n  { to: oci:./registry } ] # here\n" + channels, ""},
		{"registry", "publish: [ { to: ghcr.io/org } ]\n" + channels, "ghcr.io/org"},
		{"both", "publish:\n  - to: oci:./registry\n  - to: ghcr.io/org # there\n" + channels, "ghcr.io/org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := unplaced([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			before, err := config.Parse(file, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			after, err := config.Parse(file, data)
			if err != nil {
				t.Fatalf("%v\n%s", err, data)
			}
			var to []string
			for _, d := range after.Publish {
				to = append(to, d.To)
			}
			if got := append(to, "")[0]; got != tt.want || len(to) > 1 {
				t.Errorf("it publishes to %v, want %q\n%s", to, tt.want, data)
			}
			before.Publish, after.Publish = nil, nil
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("other keys changed (-before +after):\n%s", diff)
			}
		})
	}
	for _, text := range []string{"", "- a", "a: [", "a"} {
		if data, err := unplaced([]byte(text)); err == nil {
			t.Errorf("unplaced(%q) = %q, want an error", text, data)
		}
	}
}
