package base_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/imagetest"
	"github.com/nixpkgs-factory/factory/internal/nix"
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
			t.Run("pinned project", in.testPinned)
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

// publish publishes the image of both systems.
func publish(t *testing.T) published {
	t.Helper()
	made := imagetest.Publish(t, ".", bothSystems...)
	p := published{fixture: made.Fixture, channel: imagetest.Channel, rev: made.Rev, ref: made.Ref}
	p.sha256, p.narHash = hashByNix(t, p.fixture.ArchiveFile(p.rev))
	return p
}

var bothSystems = []string{"x86_64-linux", "aarch64-linux"}

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
