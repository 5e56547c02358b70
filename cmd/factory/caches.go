package main

import (
	"github.com/nixpkgs-factory/factory/internal/caches"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/factory"
	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// caches returns the binary caches to push to. What the configured substituters
// have signed need not go there: everybody who uses an image has them.
func (a *app) caches(c config.Config) []factory.BinaryCache {
	var upstream []string
	for _, sub := range c.Substituters {
		for _, key := range sub.Keys {
			upstream = append(upstream, key.Name())
		}
	}
	client := fetch.New(fetch.Options{UserAgent: userAgent})
	var targets []factory.BinaryCache
	for _, cache := range c.Caches {
		switch {
		case cache.Attic != "":
			targets = append(targets, caches.Attic{Endpoint: cache.Attic, Cache: cache.Cache, Token: a.env("ATTIC_TOKEN"), Client: client})
		case cache.Cachix != "":
			targets = append(targets, caches.Cachix{Cache: cache.Cachix, Token: a.env("CACHIX_AUTH_TOKEN"), SigningKey: a.env("CACHIX_SIGNING_KEY"), Upstream: upstream})
		default:
			targets = append(targets, caches.Store{URL: cache.Store, Upstream: upstream})
		}
	}
	return targets
}
