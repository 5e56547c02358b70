//go:build nixversions

package base_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/imagetest"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// The folder that scripts/nix-versions made, and the versions that it has there.
var (
	versionsDir = os.Getenv("NIX_VERSIONS_DIR")
	versions    = strings.Fields(os.Getenv("NIX_VERSIONS"))
)

// needVersions fails a test that has nothing to try.
func needVersions(t *testing.T) {
	t.Helper()
	if versionsDir == "" || len(versions) == 0 {
		t.Fatal("NIX_VERSIONS_DIR and NIX_VERSIONS are not set; scripts/test-nix-versions sets them")
	}
}

// TestCyclesOfVersions: whichever Nix evaluates, a cycle makes the same images.
func TestCyclesOfVersions(t *testing.T) {
	needVersions(t)
	fixture, err := standin.Prepare(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := fixture.Start(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	search := os.Getenv("PATH")
	digests := make(map[string][]string)
	for _, v := range versions {
		t.Setenv("PATH", filepath.Join(versionsDir, v, "bin")+":"+search)
		f := imagetest.NewFactory(t, server, ".", t.TempDir(), bothSystems...)
		found, err := f.Nix(t.Context())
		if err != nil || !strings.HasPrefix(found.Version, v+".") {
			t.Fatalf("the factory finds Nix %q, %v, want %s", found.Version, err, v)
		}
		results, err := f.Cycle(t.Context(), cycle.Options{})
		if err != nil || len(results) != 1 || results[0].Err != nil || len(results[0].Published) != 1 {
			t.Fatalf("Nix %s: the cycle ends with %+v, %v", v, results, err)
		}
		digest := results[0].Published[0].Digest
		digests[digest] = append(digests[digest], v)
		t.Logf("Nix %s: %s", v, digest)
	}
	if len(digests) != 1 {
		t.Errorf("images differ by version: %v", digests)
	}
}

// TestTreesOfVersions: image.nix says the same of a nixpkgs, whichever version evaluates
// it. Trees besides the miniature are those that NIXPKGS_TREES names.
func TestTreesOfVersions(t *testing.T) {
	needVersions(t)
	_, rev, mini := miniature(t)
	search := os.Getenv("PATH")
	for _, tree := range append([]string{mini}, strings.Fields(os.Getenv("NIXPKGS_TREES"))...) {
		for _, system := range []string{"x86_64-linux", "aarch64-linux"} {
			var first toolset.Toolset
			for i, v := range versions {
				t.Setenv("PATH", filepath.Join(versionsDir, v, "bin")+":"+search)
				set, err := evaluate(t, arguments(t, tree, system, rev))
				if err != nil {
					t.Errorf("%s for %s by Nix %s: %v", tree, system, v, err)
					break
				}
				if i == 0 {
					first = set
				}
				if diff := cmp.Diff(first, set); diff != "" {
					t.Errorf("%s for %s (-Nix %s +Nix %s):\n%s", tree, system, versions[0], v, diff)
				}
			}
		}
	}
}

// withVersion are the options of a container whose Nix is that of a version: it
// lies where the image's own Nix does, and the registries are those that an image
// with that version has.
func (in inside) withVersion(t *testing.T, v string, o containertest.Options) containertest.Options {
	t.Helper()
	var own string
	for _, tool := range in.tools(t) {
		if tool.Name == "nix" {
			own = tool.Path
		}
	}
	set := in.setOf(t, v)
	mount := func(source, target string) {
		o.Mounts = append(o.Mounts, containertest.Mount{Source: source, Target: target, ReadOnly: true})
	}
	mount(versionsDir, versionsDir)
	mount(filepath.Join(versionsDir, v), own)
	dir := t.TempDir()
	for _, name := range []string{"/etc/nix/registry.json", "/etc/nix/flake-registry.json"} {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(set.Files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
		mount(file, name)
	}
	return o
}

// setOf evaluates image.nix as for the image, but for a nixpkgs whose Nix has the version.
func (in inside) setOf(t *testing.T, v string) toolset.Toolset {
	t.Helper()
	r := in.engine.Run(t, in.image, containertest.Options{}, containertest.Command{Args: []string{"cat", "/nix/var/nix/factory/image.json", "/etc/nix/registry.json"}})
	facts := json.NewDecoder(strings.NewReader(r.Stdout))
	var inventory struct{ Sources []nix.StorePath }
	var registry struct {
		Flakes []struct{ To struct{ LastModified int64 } }
	}
	if err := facts.Decode(&inventory); err != nil {
		t.Fatal(err)
	}
	if err := facts.Decode(&registry); err != nil {
		t.Fatal(err)
	}
	args := toolset.Args{System: "x86_64-linux", Rev: gittest.Rev(in.rev), Channel: in.channel, LastModified: registry.Flakes[0].To.LastModified}
	for _, p := range inventory.Sources {
		if p.Name() == "source" {
			args.SourceAlias = p
		} else {
			args.Source = p
		}
	}
	var err error
	if args.NarHash, err = nix.ParseHash(in.narHash); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", in.fixture.ArchiveFile(in.rev), "-C", dir, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	args.Nixpkgs = wrap(t, dir, `pkgs // { nix = pkgs.nix // { version = "`+v+`.0"; }; }`)
	set, err := evaluate(t, args)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// ofVersions is the image in the first engine of this machine.
func ofVersions(t *testing.T) inside {
	t.Helper()
	needVersions(t)
	return newInside(t, containertest.Engines(t)[0], publish(t))
}

// TestStoreOfVersions: each version reads, verifies, collects and optimises the store
// of the image, and builds upon it.
func TestStoreOfVersions(t *testing.T) {
	in := ofVersions(t)
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			c := in.engine.Start(t, in.image, in.withVersion(t, v, in.online()))
			// the paths that something is mounted on differ from what they were
			const others = `grep -v -e "-nix-2" || true`
			runChecks(t, c, containertest.Command{}, []check{
				{name: "version", script: `nix --version`, like: `^nix \(Nix\) ` + v + `\.`},
				{name: "what is known", script: `ls -d /nix/store/*-* | sort > /tmp/there; nix-store --query --requisites $(jq -r '.tools[].path, .sources[]' /nix/var/nix/factory/image.json) | sort -u | comm -13 /tmp/there -`},
				{name: "contents", script: `nix-store --verify --check-contents 2>&1 | grep -E 'was modified|disappeared' | ` + others},
				{name: "nothing is garbage", script: `nix-store --gc --print-dead 2>/dev/null`},
				{name: "build", script: `$(nix-build --no-out-link '<nixpkgs>' -A motd)/bin/motd`, want: "built where it is wanted"},
				{name: "install", script: `nix-env -iA nixpkgs.hello; hello; nix profile list > /dev/null; command -v hello`, want: "Hello, world!\n/root/.nix-profile/bin/hello"},
				{name: "export", script: `export-profile /tmp/dist; chroot /tmp/dist /nix/profile/bin/hello`, want: "Hello, world!"},
				{name: "collect", script: `nix-collect-garbage -d > /dev/null 2>&1; hello; jq -n 1; nix-store --check-validity $(jq -r '.tools[].path, .sources[]' /nix/var/nix/factory/image.json)`, want: "Hello, world!\n1"},
				{name: "optimise", script: `nix-store --optimise 2>&1 | grep -E '^error' | ` + others + `; nix-store --verify --check-contents 2>&1 | grep -E 'was modified|disappeared' | ` + others},
			})
		})
		t.Run(v+" of an owner", func(t *testing.T) {
			c := in.engine.Start(t, in.image, in.withVersion(t, v, in.online()))
			must(t, c, containertest.Command{}, ownStore(t))
			runChecks(t, c, containertest.Command{User: "app", WorkDir: "/home/app", Env: []string{"HOME=/home/app"}}, []check{
				{name: "install", script: `nix-env -iA nixpkgs.hello; command -v hello; nix-collect-garbage -d > /dev/null 2>&1; hello`,
					want: "/root/.nix-profile/bin/hello\nHello, world!"},
			})
		})
		t.Run(v+" without writing", func(t *testing.T) {
			for name, o := range map[string]containertest.Options{"another user": {}, "read-only": {ReadOnly: in.engine.String() == "docker"}} {
				c := in.engine.Start(t, in.image, in.withVersion(t, v, o))
				t.Run(name, func(t *testing.T) { runChecks(t, c, containertest.Command{User: "1000"}, lookUps) })
			}
		})
	}
}

// TestTableOfPins holds the table of docs/pinning.md against what happens.
func TestTableOfPins(t *testing.T) {
	in := ofVersions(t)
	requests := newCounter(t)
	lines := []string{"| way | Nix " + strings.Join(versions, " | Nix ") + " |", "|---|" + strings.Repeat("---|", len(versions))}
	var cells [][]string
	for _, v := range versions {
		cells = append(cells, in.columnOfPins(t, v, requests))
	}
	for i, w := range in.ways(requests.url) {
		line := "| " + w.name + " |"
		for _, column := range cells {
			line += " " + column[i] + " |"
		}
		lines = append(lines, line)
	}
	got := strings.Join(lines, "\n") + "\n"
	if file := os.Getenv("NIX_VERSIONS_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../docs/pinning.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- table -->\n")
	want, _, _ := strings.Cut(rest, "<!-- end of table -->")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of docs/pinning.md (-there +found):\n%s", diff)
	}
}
