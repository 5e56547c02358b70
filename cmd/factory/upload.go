package main

import (
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/upload"
)

// uploads returns the binary caches to fill. What the configured substituters
// have signed need not go there: everybody who uses an image has them.
func (a *app) uploads(c config.Config) []upload.Target {
	var upstream []string
	for _, sub := range c.Substituters {
		for _, key := range sub.Keys {
			upstream = append(upstream, key.Name())
		}
	}
	client := fetch.New(fetch.Options{UserAgent: userAgent})
	var targets []upload.Target
	for _, to := range c.Upload {
		switch {
		case to.Attic != "":
			targets = append(targets, upload.Attic{Endpoint: to.Attic, Cache: to.Cache, Token: a.env("ATTIC_TOKEN"), Client: client})
		case to.Cachix != "":
			targets = append(targets, upload.Cachix{Cache: to.Cachix, Token: a.env("CACHIX_AUTH_TOKEN"), SigningKey: a.env("CACHIX_SIGNING_KEY"), Upstream: upstream})
		default:
			targets = append(targets, upload.Store{URL: to.Store, Upstream: upstream})
		}
	}
	return targets
}
