package config

import (
	"path/filepath"
	"testing"
	"time"
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
		Images:       []Image{{Folder: filepath.Join(dir, "images/base"), Repository: "nixpkgs-{channel}"}},
		Systems:      []System{x86, arm},
		Schedule:     "47 * * * *",
		TimeZone:     "UTC",
		Source:       Source{Names: []string{"nixpkgs-src", "source"}},
		Compression:  "gzip",
		Grace:        10 * time.Minute,
		Limit:        6 * time.Hour,
		Nix:          "auto",
		Evaluation:   Evaluation{Timeout: 10 * time.Minute, Memory: 4 << 30},
		State:        filepath.Join(dir, "factory.db"),
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
	all.State, all.Cache = "/var/lib/factory.db", "/etc/factory/work"
	all.Images = []Image{
		{Folder: "/etc/images", Repository: "nix/{channel}"},
		{Folder: "/srv/attic_server", Repository: "attic", Suffix: "_x", Channels: []string{"nixos-26.05"}, Tags: []string{"{version}", "{digest:64}"}},
	}
	all.Systems, all.Schedule, all.TimeZone = []System{arm}, "@every 90m", "Europe/Berlin"
	all.Source.Names, all.Compression = []string{"nixpkgs-src"}, "zstd"
	three := 3
	all.Channels = []Channel{
		{Name: "nixos-unstable", Tags: []string{"latest", "Edge_1.0", "{date}-{rev:7}"}, Systems: []System{x86}, Backfill: &three},
		{Name: "nixos-26.05-small", Tags: []string{"latest"}, Systems: []System{x86}, Frozen: true},
		{Name: "nixos-26.05", Systems: []System{x86, arm}, Optional: []System{arm}},
	}
	all.Jitter, all.Grace, all.Limit, all.Backfill = 90*time.Second, 24*time.Hour, 168*time.Hour, 50
	all.Labels = map[string]string{
		"org.opencontainers.image.source": "https://github.com/org/images",
		"org.example.built-by":            "Zoë: <mailto:zoe@example.org>",
		"vendor":                          "Example",
	}
	all.Verify = []string{"scripts/smoke-test", "test -n \"$IMAGE\"\nexit 0\n"}
	all.Upload = []Upload{
		{Attic: "https://attic.example.org/api", Cache: "my_Cache+1"},
		{Attic: "http://127.0.0.1:8080", Cache: "my_Cache+1"},
		{Cachix: "my-cache"},
		{Store: "s3://bucket?region=eu-west-1&secret-key=/run/keys/cache.sec"},
		{Store: "ssh-ng://builder@example.org"},
		{Store: "file:///srv/cache/"},
	}
	all.Notify = []Notify{
		{URLFrom: "FACTORY_WEBHOOK_URL", On: []string{"published", "failed"}},
		{URLFrom: "_pager2", SecretFrom: "_PAGER2_SECRET", On: []string{"failed"}},
	}
	least := defaultsIn(t, "conf")
	least.Channels = []Channel{{Name: "nixpkgs-unstable"}}

	bounds := defaultsIn(t, "conf")
	bounds.Channels = []Channel{{Name: "a", Backfill: new(int)}}
	bounds.Jitter, bounds.Grace, bounds.Limit = time.Hour, time.Second, time.Second

	tests := []struct {
		name, file, data string
		want             Config
	}{
		{"only channels", "conf/channels.yaml", "channels: [ { name: nixpkgs-unstable } ]\n", least},
		{"carriage returns and a byte order mark", "conf/c.yaml", "\ufeffchannels:\r\n  - name: nixpkgs-unstable\r\n", least},
		{"other ends of ranges", "conf/c.yaml", "channels: [ { name: a, backfill: 0, frozen: FALSE } ]\njitter: 1h\ngrace: 1s\nlimit: 1s\nbackfill: 0\nlabels: {}\n", bounds},
		{"no jitter", "conf/c.yaml", "channels: [ { name: nixpkgs-unstable } ]\njitter: 0\n", least},
		{"every key, aliases, slashes at the end", "/etc/factory/channels.yaml", `
upstream: { repository: org/fork, api: "http://127.0.0.1:8080/api/", archive: file:///srv/archives/ }
substituters:
  - { url: "http://127.0.0.1:8080/cache/", keys: [ &other "` + otherKey + `", "` + defaultCacheKey + `" ] }
  - { url: file:///srv/cache, keys: [ *other ] }
publish: [ { to: "127.0.0.1:5000/org" }, { to: oci:/srv/layout/ }, { to: ghcr.io/org/team }, { to: localhost } ]
images:
  - { folder: ../images, repository: "nix/{channel}" }
  - { folder: /srv/attic_server, repository: attic, suffix: _x, channels: [ nixos-26.05 ], tags: [ "{version}", "{digest:64}" ] }
systems: [ aarch64-linux ]
schedule: "@every 90m"
timezone: Europe/Berlin
source: { names: [ nixpkgs-src ] }
compression: zstd
state: /var/lib/factory.db
cache: work
channels:
  - name: nixos-unstable
    tags: [ latest, Edge_1.0, "{date}-{rev:7}" ]
    systems: &intel [ x86_64-linux ]
    backfill: 3
  - { name: nixos-26.05-small, tags: [ latest ], systems: *intel, frozen: True }
  - { name: nixos-26.05, optional: [ aarch64-linux ], systems: [ x86_64-linux, aarch64-linux ] }
jitter: 90s
grace: 24h
limit: 168h
backfill: 50
labels:
  org.opencontainers.image.source: https://github.com/org/images
  org.example.built-by: "Zoë: <mailto:zoe@example.org>"
  vendor: Example
verify:
  - scripts/smoke-test
  - |
    test -n "$IMAGE"
    exit 0
upload:
  - { attic: "https://attic.example.org/api/", cache: my_Cache+1 }
  - { attic: "http://127.0.0.1:8080", cache: my_Cache+1 }
  - { cachix: my-cache }
  - { store: "s3://bucket?region=eu-west-1&secret-key=/run/keys/cache.sec" }
  - { store: ssh-ng://builder@example.org }
  - { store: "file:///srv/cache/" }
notify:
  - { urlFrom: FACTORY_WEBHOOK_URL }
  - { urlFrom: _pager2, secretFrom: _PAGER2_SECRET, on: [ failed ] }
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

func TestBackfillOf(t *testing.T) {
	c, none := Config{Backfill: 5}, 0
	if got := c.BackfillOf(Channel{Name: "a"}); got != 5 {
		t.Errorf("a channel that names no number: %d, want 5", got)
	}
	if got := c.BackfillOf(Channel{Name: "a", Backfill: &none}); got != 0 {
		t.Errorf("a channel that names 0: %d, want 0", got)
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
