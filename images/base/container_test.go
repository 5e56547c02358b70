package base_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/serve"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// TestContainers publishes an image of the miniature nixpkgs and uses it with
// every engine of this machine.
func TestContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("makes containers")
	}
	engines := containertest.Engines(t)
	p := publish(t)
	t.Run("both systems", func(t *testing.T) { testSystems(t, p) })
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			in := newInside(t, e, p)
			t.Run("contents", in.testContents)
			t.Run("tools", in.testTools)
			t.Run("other users", in.testUsers)
			t.Run("nothing to write to", in.testReadOnly)
			t.Run("something over run", in.testCoveredRun)
			t.Run("nixpkgs without a network", in.testNixpkgs)
			t.Run("store", in.testStore)
			t.Run("damaged", in.testDamaged)
			t.Run("nixpkgs without a request", in.testRequests)
			t.Run("install", in.testInstall)
			t.Run("certificates", in.testCertificates)
			t.Run("store of another user", in.testOwnStore)
			t.Run("two stages", in.testTwoStages)
			t.Run("job container", in.testJob)
		})
	}
}

// published is the image of a channel, in a registry.
type published struct {
	fixture *standin.Fixture
	channel string
	rev     string
	ref     string // with the tag of the commit
	sha256  string // of the nixpkgs, by Nix, in its base32
	narHash string // the same as SRI
}

const publishedChannel = "nixos-26.05"

// publish runs a cycle of the factory as the command does, for both systems,
// into an OCI layout, which it serves as a registry on loopback.
func publish(t *testing.T) published {
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
	f := newFactory(t, server, dir)
	results, err := f.Cycle(t.Context(), cycle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Err != nil {
		t.Fatalf("the cycle ends with %+v", results)
	}
	offered := httptest.NewServer(serve.Handler(filepath.Join(dir, "registry")))
	t.Cleanup(offered.Close)
	p := published{fixture: fixture, channel: publishedChannel, rev: results[0].Rev.String()}
	p.ref = fmt.Sprintf("%s/org/nixpkgs-%s:%s", strings.TrimPrefix(offered.URL, "http://"), p.channel, server.Head(p.channel))
	p.sha256, p.narHash = hashByNix(t, fixture.ArchiveFile(p.rev))
	return p
}

// newFactory puts a factory together that follows one channel of the stand-in.
// Everything it makes is in dir.
func newFactory(t *testing.T, server *standin.Server, dir string) *cycle.Factory {
	t.Helper()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := config.Parse(filepath.Join(dir, "channels.yaml"), fmt.Appendf(nil, `
upstream: { repository: %s, api: %q, archive: %q }
substituters: [ { url: %q, keys: [ %q ] } ]
publish: [ { to: oci:./registry } ]
image: %q
systems: [ x86_64-linux, aarch64-linux ]
channels: [ { name: %s } ]
`, standin.Repository, server.API(), server.Archive(), server.Cache(), server.PublicKey(), here, publishedChannel))
	if err != nil {
		t.Fatal(err)
	}
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

// hashByNix returns the hash that the real Nix gives the tree in an archive, in
// base32 and as SRI.
func hashByNix(t *testing.T, archive string) (base32, sri string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", archive, "-C", dir, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	cmd := exec.Command("nix-hash", "--type", "sha256", "--base32", dir)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=dummy://")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nix-hash: %v", err)
	}
	hash, err := nix.ParseHash(string(out[:len(out)-1]))
	if err != nil {
		t.Fatal(err)
	}
	return hash.Base32(), hash.SRI()
}

// part returns the image of one system, from the registry.
func (p published) part(ctx context.Context, arch string) (v1.Image, error) {
	ref, err := name.ParseReference(p.ref)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
}

// inside is an image in an engine.
type inside struct {
	published
	engine   containertest.Engine
	image    string
	contents containertest.Contents
	upstream *standin.Server // of this engine alone
}

func newInside(t *testing.T, e containertest.Engine, p published) inside {
	t.Helper()
	in := inside{published: p, engine: e, image: e.Pull(t, p.ref)}
	in.contents = e.Read(t, in.image)
	var err error
	if in.upstream, err = p.fixture.Start(t.Context(), standin.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.upstream.Close)
	return in
}

// cacheSettings are the lines of nix.conf for a binary cache.
func cacheSettings(url, key string) string {
	return fmt.Sprintf("substituters = %s\ntrusted-public-keys = %s\nsubstitute = true", url, key)
}

// online are the options of a container that has the stand-in's binary cache.
func (in inside) online() containertest.Options {
	return containertest.Options{
		HostNetwork: true,
		Env:         []string{"NIX_CONFIG=" + cacheSettings(in.upstream.Cache(), in.upstream.PublicKey())},
	}
}

// tools are those that the image says it has.
func (in inside) tools(t *testing.T) []image.ToolFact {
	t.Helper()
	var tools []image.ToolFact
	if err := json.Unmarshal([]byte(in.contents.Config.Labels[image.ToolsLabel]), &tools); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tools, func(a, b image.ToolFact) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	return tools
}
