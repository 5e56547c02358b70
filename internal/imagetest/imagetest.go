// Package imagetest lets tests publish the image of a folder as the factory does,
// out of the stand-in upstream, and pull it from a registry on loopback.
package imagetest

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/serve"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// Channel is the one whose head is published.
const Channel = "nixos-26.05"

// Published is an image in a registry.
type Published struct {
	Fixture *standin.Fixture
	Rev     string
	Digest  string
	Ref     string // with the tag of the commit, or the one that images without nixpkgs have
}

// Publish runs a cycle that makes the image of a folder, into an OCI layout, and
// serves that as a registry.
func Publish(t testing.TB, folder string, systems ...string) Published {
	t.Helper()
	fixture, err := standin.Prepare(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := fixture.Start(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dir := t.TempDir()
	results, err := NewFactory(t, server, folder, dir, systems...).Cycle(t.Context(), cycle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Err != nil {
		t.Fatalf("the cycle ends with %+v", results)
	}
	tag := results[0].Published[0].Image
	offered := httptest.NewServer(serve.Handler(filepath.Join(dir, "registry")))
	t.Cleanup(offered.Close)
	return Published{
		Fixture: fixture,
		Rev:     results[0].Rev.String(),
		Digest:  results[0].Published[0].Digest.String(),
		Ref:     fmt.Sprintf("%s/org/nixpkgs-%s:%s", strings.TrimPrefix(offered.URL, "http://"), Channel, tag[strings.LastIndex(tag, ":")+1:]),
	}
}

// NewFactory puts a factory together that follows one channel of the stand-in.
// Everything it makes is in dir.
func NewFactory(t testing.TB, server *standin.Server, folder, dir string, systems ...string) *cycle.Factory {
	t.Helper()
	conf := parse(t, server, folder, dir, systems)
	store, err := record.Open(conf.State)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	client, err := heads.NewClient(heads.Options{API: conf.Upstream.API, Repository: conf.Upstream.Repository, ETags: store})
	if err != nil {
		t.Fatal(err)
	}
	fetcher := fetch.New(fetch.Options{})
	var caches []binarycache.Substituter
	for _, s := range conf.Substituters {
		caches = append(caches, binarycache.Substituter{URL: s.URL, Keys: s.Keys})
	}
	return &cycle.Factory{
		Config: conf,
		Heads:  client,
		Fetch:  fetcher,
		Cache:  binarycache.New(fetcher, caches),
		Store:  store,
		Repository: func(to config.Destination, channel string) (registry.Repository, error) {
			return registry.Layout(to.Layout, to.Repository(channel)), nil
		},
		Nix:      &evaluator.Chooser{Choice: evaluator.Path, Installed: evaluator.Find},
		Dir:      filepath.Join(dir, "work"),
		Moved:    new(cycle.Moved),
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		Progress: progress.Silent{},
		Now:      time.Now,
	}
}

func parse(t testing.TB, server *standin.Server, folder, dir string, systems []string) config.Config {
	t.Helper()
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := config.Parse(filepath.Join(dir, "channels.yaml"), fmt.Appendf(nil, `
upstream: { repository: %s, api: %q, archive: %q }
substituters: [ { url: %q, keys: [ %q ] } ]
publish: [ { to: oci:./registry } ]
images: [ { folder: %q } ]
systems: [ %s ]
channels: [ { name: %s, tags: [ latest ] } ]
`, standin.Repository, server.API(), server.Archive(), server.Cache(), server.PublicKey(), folder, strings.Join(systems, ", "), Channel))
	if err != nil {
		t.Fatal(err)
	}
	return conf
}
