package config

import (
	"os"
	"path/filepath"
	"testing"
	_ "time/tzdata" // zones where the machine has none

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

var (
	x86 = System{Nix: "x86_64-linux", OS: "linux", Arch: "amd64"}
	arm = System{Nix: "aarch64-linux", OS: "linux", Arch: "arm64", Variant: "v8"}
)

func publicKey(t *testing.T, s string) nix.PublicKey {
	t.Helper()
	key, err := nix.ParsePublicKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// defaultsIn is what a file in dir means that leaves out everything.
func defaultsIn(t *testing.T, dir string) Config {
	t.Helper()
	return Config{
		Upstream:     Upstream{Repository: "NixOS/nixpkgs", Archive: "https://github.com"},
		Substituters: []Substituter{{URL: "https://cache.nixos.org", Keys: []nix.PublicKey{publicKey(t, defaultCacheKey)}}},
		Publish:      []Destination{{To: "oci:./registry", Layout: filepath.Join(dir, "registry")}},
		Image:        filepath.Join(dir, "images/base"),
		Systems:      []System{x86, arm},
		Schedule:     "47 * * * *",
		TimeZone:     "UTC",
		Source:       Source{Names: []string{"nixpkgs-src", "source"}},
		Compression:  "gzip",
		State:        filepath.Join(dir, "factory.db"),
	}
}

func TestShippedFile(t *testing.T) {
	const name = "../../channels.yaml"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultsIn(t, "../..")
	want.Channels = []Channel{{Name: "nixos-26.05", Tags: []string{"latest"}}, {Name: "nixos-unstable"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the shipped file shows other values than the defaults (-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	const otherKey = "cache.example.org-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	all := defaultsIn(t, "/etc/factory")
	all.Upstream = Upstream{Repository: "org/fork", API: "http://127.0.0.1:8080/api", Archive: "file:///srv/archives"}
	all.Substituters = []Substituter{
		{URL: "http://127.0.0.1:8080/cache", Keys: []nix.PublicKey{publicKey(t, otherKey), publicKey(t, defaultCacheKey)}},
		{URL: "file:///srv/cache", Keys: []nix.PublicKey{publicKey(t, otherKey)}},
	}
	all.Publish = []Destination{
		{To: "127.0.0.1:5000/org", Registry: "127.0.0.1:5000/org"},
		{To: "oci:/srv/layout/", Layout: "/srv/layout"},
		{To: "ghcr.io/org/team", Registry: "ghcr.io/org/team"},
		{To: "localhost", Registry: "localhost"},
	}
	all.Image, all.State, all.Cache = "/etc/images", "/var/lib/factory.db", "/etc/factory/work"
	all.Systems, all.Schedule, all.TimeZone = []System{arm}, "@every 90m", "Europe/Berlin"
	all.Source.Names, all.Compression = []string{"nixpkgs-src"}, "zstd"
	all.Channels = []Channel{
		{Name: "nixos-unstable", Tags: []string{"latest", "Edge_1.0"}, Systems: []System{x86}},
		{Name: "nixos-26.05-small", Tags: []string{"latest"}, Systems: []System{x86}},
	}
	least := defaultsIn(t, "conf")
	least.Channels = []Channel{{Name: "nixpkgs-unstable"}}

	tests := []struct {
		name, file, data string
		want             Config
	}{
		{"only channels", "conf/channels.yaml", "channels: [ { name: nixpkgs-unstable } ]\n", least},
		{"carriage returns and a byte order mark", "conf/c.yaml", "\ufeffchannels:\r\n  - name: nixpkgs-unstable\r\n", least},
		{"every key, aliases, slashes at the end", "/etc/factory/channels.yaml", `
upstream: { repository: org/fork, api: "http://127.0.0.1:8080/api/", archive: file:///srv/archives/ }
substituters:
  - { url: "http://127.0.0.1:8080/cache/", keys: [ &other "` + otherKey + `", "` + defaultCacheKey + `" ] }
  - { url: file:///srv/cache, keys: [ *other ] }
publish: [ { to: "127.0.0.1:5000/org" }, { to: oci:/srv/layout/ }, { to: ghcr.io/org/team }, { to: localhost } ]
image: ../images
systems: [ aarch64-linux ]
schedule: "@every 90m"
timezone: Europe/Berlin
source: { names: [ nixpkgs-src ] }
compression: zstd
state: /var/lib/factory.db
cache: work
channels:
  - name: nixos-unstable
    tags: [ latest, Edge_1.0 ]
    systems: &intel [ x86_64-linux ]
  - { name: nixos-26.05-small, tags: [ latest ], systems: *intel }
`, all},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.file, []byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSharesNothing(t *testing.T) {
	data := []byte("channels: [ { name: a } ]")
	first, err := Parse("c.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	first.Systems[0].Nix, first.Source.Names[0] = "changed", "changed"
	second, err := Parse("c.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if second.Systems[0] != x86 || second.Source.Names[0] != "nixpkgs-src" {
		t.Errorf("a change of one Config shows in the next: %v, %v", second.Systems, second.Source)
	}
}

func TestSystemsOf(t *testing.T) {
	c := Config{Systems: []System{x86, arm}}
	if diff := cmp.Diff([]System{x86, arm}, c.SystemsOf(Channel{Name: "a"})); diff != "" {
		t.Errorf("a channel that names none (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]System{arm}, c.SystemsOf(Channel{Name: "a", Systems: []System{arm}})); diff != "" {
		t.Errorf("a channel that names its own (-want +got):\n%s", diff)
	}
}

func TestParseSystem(t *testing.T) {
	for _, want := range []System{x86, arm} {
		got, err := ParseSystem(want.String())
		if err != nil || got != want {
			t.Errorf("ParseSystem(%q) = %v, %v, want %v", want, got, err, want)
		}
	}
	const message = `unknown system "arm64" (want x86_64-linux or aarch64-linux)`
	if _, err := ParseSystem("arm64"); err == nil || err.Error() != message {
		t.Errorf("ParseSystem(%q) = %v, want %s", "arm64", err, message)
	}
}
