package config

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

func TestParseDestination(t *testing.T) {
	tests := []struct {
		to         string
		repository string // of the channel c
		scheme     string // of the registry
	}{
		{"docker.io/org", "docker.io/org/nixpkgs-c", "https"},
		{"ghcr.io/org/team", "ghcr.io/org/team/nixpkgs-c", "https"},
		{"registry.example.org", "registry.example.org/nixpkgs-c", "https"},
		{"registry.example.org:8443/a_b/c-d__e.f", "registry.example.org:8443/a_b/c-d__e.f/nixpkgs-c", "https"},
		{"127.0.0.1:5000/org", "127.0.0.1:5000/org/nixpkgs-c", "http"},
		{"localhost:5000", "localhost:5000/nixpkgs-c", "http"},
		{"[::1]:5000/org", "[::1]:5000/org/nixpkgs-c", "http"},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			d, err := ParseDestination(tt.to, "conf")
			if err != nil {
				t.Fatal(err)
			}
			if want := (Destination{To: tt.to, Registry: tt.to}); d != want {
				t.Errorf("ParseDestination(%q) = %+v, want %+v", tt.to, d, want)
			}
			if got := d.Repository("nixpkgs-c"); got != tt.repository {
				t.Errorf("Repository = %q, want %q", got, tt.repository)
			}
			repository, err := name.NewRepository(d.Repository("nixpkgs-c"))
			if err != nil {
				t.Fatal(err)
			}
			if got := repository.Scheme(); got != tt.scheme {
				t.Errorf("scheme of %s = %s, want %s", repository, got, tt.scheme)
			}
		})
	}
}

// http:// says on purpose that a registry has no encryption.
func TestParseDestinationPlain(t *testing.T) {
	for to, want := range map[string]string{
		"http://registry.example.org/org":     "registry.example.org/org",
		"http://registry.example.org:5000":    "registry.example.org:5000",
		"http://kind-registry:5000/org":       "kind-registry:5000/org",
		"http://registry/org":                 "registry:80/org", // docker.io/registry/org otherwise
		"http://registry":                     "registry:80",
		"http://10.0.0.7:5000/a":              "10.0.0.7:5000/a",
		"http://[fd00::7]:5000/a":             "[fd00::7]:5000/a",
		"http://localhost:5000/a":             "localhost:5000/a",
		"http://registry.example.org:80/a/b1": "registry.example.org:80/a/b1",
	} {
		d, err := ParseDestination(to, "")
		if err != nil || d != (Destination{To: to, Registry: want, Plain: true}) {
			t.Errorf("ParseDestination(%q) = %+v, %v, want %s, plain", to, d, err, want)
			continue
		}
		repository, err := d.Remote("nixpkgs-c")
		if err != nil || repository.Name() != want+"/nixpkgs-c" || repository.Scheme() != "http" {
			t.Errorf("Remote of %q = %v (%s), %v, want %s/nixpkgs-c over http", to, repository, repository.Scheme(), err, want)
		}
	}
	for _, to := range []string{"http://", "http:///org", "http://http://a.b/c", "http://user:password@a.b/c", "http://ghcr.io/Org"} {
		if d, err := ParseDestination(to, ""); err == nil {
			t.Errorf("ParseDestination(%q) = %+v, want an error", to, d)
		}
	}
	secure, err := ParseDestination("registry.example.org/org", "")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ParseDestination("http://registry.example.org/org", "")
	if err != nil {
		t.Fatal(err)
	}
	if secure.place() != plain.place() {
		t.Errorf("%s and %s are two places, want one", secure.place(), plain.place())
	}
}

func TestParseDestinationLayout(t *testing.T) {
	for to, layout := range map[string]string{
		"oci:./registry": "conf/registry",
		"oci:../a b/é":   "a b/é",
		"oci:/srv/a/":    "/srv/a",
		"oci:a:b@c":      "conf/a:b@c",
	} {
		d, err := ParseDestination(to, "conf")
		if want := (Destination{To: to, Layout: layout}); err != nil || d != want {
			t.Errorf("ParseDestination(%q) = %+v, %v, want %+v", to, d, err, want)
		}
		if got := d.Repository("nixpkgs-c"); got != "nixpkgs-c" {
			t.Errorf("Repository of %q = %q, want nixpkgs-c", to, got)
		}
	}
}

func TestParseDestinationErrors(t *testing.T) {
	tests := []struct{ to, want string }{
		{"", `"" is not the host of a registry`},
		{"org", `"org" is not the host of a registry`},
		{"org/team", `"org" is not the host of a registry`},
		{"oci:", "no folder after oci:"},
		{"oci://registry", "no folder after oci:"},
		{"oci:/", "the root folder cannot hold images"},
		{"oci:/srv/..", "the root folder cannot hold images"},
		{"oci:/./", "the root folder cannot hold images"},
		{"https://ghcr.io/org", "a registry has no scheme but http://, which turns encryption off: write ghcr.io/org"},
		{"ghcr.io/Org", `"Org" has capital letters, which registries refuse`},
		{"ghcr.io/org:latest", `"org:latest" has a tag or digest, which the factory chooses`},
		{"ghcr.io/org@sha256", `"org@sha256" has a tag or digest, which the factory chooses`},
		{"ghcr.io/", "ends with a slash"},
		{"ghcr.io/org/", "has an empty part between slashes"},
		{"ghcr.io//org", "has an empty part between slashes"},
		{"ghcr.io/or g", `"or g" is not a name in a registry`},
		{"ghcr.io/-org", `"-org" is not a name in a registry`},
		{"ghcr.io/../org", `".." is not a name in a registry`},
		{"docker.io", "docker.io needs an organisation or user: write docker.io/my-org"},
		{"index.docker.io", "index.docker.io needs an organisation or user: write index.docker.io/my-org"},
		{"ghcr.io", "ghcr.io needs an organisation or user: write ghcr.io/my-org"},
		{"GHCR.io", "GHCR.io needs an organisation or user: write GHCR.io/my-org"},
		{"http://quay.io", "quay.io needs an organisation or user: write quay.io/my-org"},
		{"registry.gitlab.com", "registry.gitlab.com needs an organisation or user: write registry.gitlab.com/my-org"},
		{"localhost:0/org", "0 is not a port"},
		{"localhost:65536/org", "65536 is not a port"},
		{"localhost:/org", `"localhost:" is not the host of a registry`},
		{"localhost:http/org", `"localhost:http" is not the host of a registry`},
		{"[::1/org", `"[::1" is not the host of a registry`},
		{"[::zz]/org", `"[::zz]" is not the host of a registry`},
		{"[:::]:5000/org", `"[:::]:5000" is not the host of a registry`},
		{"ghcr.io/" + strings.Repeat("a", 120), "longer than 120 characters"},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			d, err := ParseDestination(tt.to, "")
			if err == nil {
				t.Fatalf("ParseDestination(%q) = %+v, want an error", tt.to, d)
			}
			if !strings.Contains(err.Error(), ": "+tt.want+" (want oci:DIR or [http://]HOST[:PORT]/PATH, such as") {
				t.Errorf("ParseDestination(%q): %v, want %s", tt.to, err, tt.want)
			}
		})
	}
}

func TestLongestRepository(t *testing.T) {
	prefix := "ghcr.io/" + strings.Repeat("a", maxPrefix-len("ghcr.io/"))
	channel := strings.Repeat("c", maxChannel)
	d, err := ParseDestination(prefix, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkChannel(channel); err != nil {
		t.Fatal(err)
	}
	if _, err := name.NewRepository(d.Repository(channel)); err != nil {
		t.Error(err)
	}
}
