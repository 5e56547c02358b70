package config

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shipped = "../../channels.yaml"

func TestShippedFile(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(shipped, data)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultsIn(t, "../..")
	want.Channels = []Channel{{Name: "nixos-26.05", Tags: []string{"latest"}}, {Name: "nixos-unstable"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the shipped file shows other values than the defaults (-want +got):\n%s", diff)
	}
}

// commented is a line of the shipped file that shows a key or an item.
var commented = regexp.MustCompile(`(?m)^( *)# ( *- .*|[ -]*[A-Za-z.]+:(?: .*)?)$`)

func TestShippedExamples(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(shipped, commented.ReplaceAll(data, []byte("$1$2")))
	if err != nil {
		t.Fatal(err)
	}
	five := 5
	want := defaultsIn(t, "../..")
	want.Images = append(want.Images,
		Image{Folder: "../../images/slim", Repository: "nixpkgs-{channel}", Suffix: "-slim"},
		Image{Folder: "../../images/attic-server", Repository: "attic-server", Channels: []string{"nixos-26.05"}, Tags: []string{"latest", "{version}", "{digest:12}"}},
	)
	want.Upstream.API = "https://github.example.com/api/v3"
	want.Cache = "../../.cache"
	want.Labels = map[string]string{
		"org.opencontainers.image.source": "https://github.com/org/images",
		"org.opencontainers.image.vendor": "Example",
	}
	want.Verify = []string{"scripts/smoke-test"}
	want.Upload = []Upload{
		{Attic: "https://attic.example.org", Cache: "mycache"},
		{Cachix: "mycache"},
		{Store: "s3://bucket?region=eu-west-1&secret-key=/run/keys/cache.sec"},
	}
	want.Notify = []Notify{{URLFrom: "FACTORY_WEBHOOK_URL", SecretFrom: "FACTORY_WEBHOOK_SECRET", On: []string{"published", "failed"}}}
	want.Attest = true
	want.Sign.Key = "env://COSIGN_PRIVATE_KEY"
	want.Channels = []Channel{
		{Name: "nixos-26.05", Tags: []string{"latest"}},
		{
			Name:     "nixos-unstable",
			Tags:     []string{"{date}-{rev:7}", "v{version}"},
			Systems:  []System{x86, arm},
			Optional: []System{arm},
			Backfill: &five,
			Frozen:   true,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the examples in the shipped file (-want +got):\n%s", diff)
	}
}
