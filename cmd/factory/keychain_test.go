package main

import (
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// A password goes to the one registry that it is for.
func TestKeychain(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	ghcr, other := config.Destination{Registry: "ghcr.io/org"}, config.Destination{Registry: "registry.example/org"}
	layout := config.Destination{Layout: "registry"}
	login := map[string]string{"REGISTRY_USER": "ann", "REGISTRY_PASSWORD": "pa55word"}
	for what, tt := range map[string]struct {
		dests []config.Destination
		host  string // REGISTRY_HOST
		gets  string // the host that gets the password
		usage bool
	}{
		"one registry":            {dests: []config.Destination{layout, ghcr}, gets: "ghcr.io"},
		"two, and nobody says":    {dests: []config.Destination{ghcr, other}, usage: true},
		"two, one of them named":  {dests: []config.Destination{ghcr, other}, host: "registry.example", gets: "registry.example"},
		"none in a configuration": {dests: nil},
	} {
		a := &app{env: func(key string) string {
			if key == "REGISTRY_HOST" {
				return tt.host
			}
			return login[key]
		}}
		keychain, err := a.keychain(tt.dests)
		var usage usageError
		if errors.As(err, &usage) != tt.usage {
			t.Errorf("%s: keychain() = %v", what, err)
		}
		if err != nil {
			continue
		}
		for _, host := range []string{"ghcr.io", "registry.example", "evil.example"} {
			repo, err := name.NewRepository(host + "/x/y")
			if err != nil {
				t.Fatal(err)
			}
			auth, err := keychain.Resolve(repo)
			if err != nil {
				t.Fatal(err)
			}
			if got := auth != authn.Anonymous; got != (host == tt.gets) {
				t.Errorf("%s: %s gets the password: %t", what, host, got)
			}
		}
	}
}
