//go:build nixversions

package base_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// A way to name nixpkgs. Its script prints what matches like if it was found.
type way struct{ name, script, like string }

// A caller is a user in a container of some kind.
type caller struct {
	name string
	o    containertest.Options
	c    containertest.Command
}

func (in inside) callers(t *testing.T) []caller {
	t.Helper()
	home := t.TempDir() // somebody else's, as in a job container
	if err := os.Chown(home, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	return []caller{
		{name: "root"},
		{"another HOME", containertest.Options{
			Env:    []string{"HOME=/github/home"},
			Mounts: []containertest.Mount{{Source: home, Target: "/github/home"}},
		}, containertest.Command{}},
		{"uid 1000", containertest.Options{}, containertest.Command{User: "1000"}},
		{"read-only", containertest.Options{ReadOnly: in.engine.String() == "docker"}, containertest.Command{User: "1000"}},
	}
}

// ways are those that docs/pinning.md lists. Whatever has an address has the given
// one, or GitHub's.
func (in inside) ways(address string) []way {
	const src, source = `^/nix/store/[0-9a-z]{32}-nixpkgs-src$`, `^/nix/store/[0-9a-z]{32}-source$`
	archive := `url = "` + address + `/archive/` + in.rev + `.tar.gz";`
	eval := func(expression string) string { return `nix-instantiate --eval -E '` + expression + `' | tr -d '"'` }
	pure := func(expression string) string { return `nix eval --raw --impure --expr '` + expression + `'` }
	reference := "github:NixOS/nixpkgs/" + in.rev + "?narHash=" + in.narHash
	return []way{
		{"`<nixpkgs>`", eval(`toString <nixpkgs>`), src},
		{"`fetchTarball` with the name `nixpkgs-src`", eval(`toString (fetchTarball { name = "nixpkgs-src"; ` + archive + ` sha256 = "` + in.sha256 + `"; })`), src},
		{"`fetchTarball` without a name", eval(`toString (fetchTarball { ` + archive + ` sha256 = "` + in.sha256 + `"; })`), source},
		{"niv", eval(`toString (import /flakes/niv/sources.nix).nixpkgs`), src},
		{"npins, from git", eval(`toString (import /flakes/npins/default.nix).nixpkgs`), source},
		{"`nix-env -qaP`", `nix-env -qaP hello`, `^nixpkgs\.hello +hello-`},
		{"`nixpkgs#hello`", `nix eval --raw nixpkgs#hello.name`, `^hello-`},
		{"`nix flake metadata nixpkgs`: the image's commit", `nix flake metadata --json nixpkgs | jq -r .locked.rev`, `^` + in.rev + `$`},
		{"flake input locked to `github:`", `nix eval --raw path:/flakes/locked#path`, source},
		{"flake input locked to a tarball", `nix eval --raw path:/flakes/tarball#path`, source},
		{"flake input `nixpkgs` without a lock", `nix eval --no-write-lock-file --raw path:/flakes/unlocked#path`, source},
		{"its new lock file names GitHub", `d=$(mktemp -d); cp /flakes/unlocked/flake.nix $d; nix flake lock path:$d && jq -r .nodes.nixpkgs.locked.type $d/flake.lock`, `^github$`},
		{"`nix flake lock --override-input nixpkgs github:NixOS/nixpkgs/<rev>`", `d=$(mktemp -d); cp /flakes/unlocked/flake.nix $d; nix flake lock --override-input nixpkgs github:NixOS/nixpkgs/` + in.rev + ` path:$d && jq -r .nodes.nixpkgs.locked.type $d/flake.lock`, `^github$`},
		{"`fetchTree` with rev, narHash and lastModified", pure(`(builtins.fetchTree { type = "github"; owner = "NixOS"; repo = "nixpkgs"; rev = "` + in.rev + `"; narHash = "` + in.narHash + `"; lastModified = 1; }).outPath`), source},
		{"`fetchTree` with rev and narHash", pure(`(builtins.fetchTree { type = "github"; owner = "NixOS"; repo = "nixpkgs"; rev = "` + in.rev + `"; narHash = "` + in.narHash + `"; }).outPath`), source},
		{"`builtins.getFlake \"github:NixOS/nixpkgs/<rev>?narHash=…\"`", pure(`(builtins.getFlake "` + reference + `").outPath`), source},
		{"`github:NixOS/nixpkgs/<rev>?narHash=…#hello`", `nix eval --raw '` + reference + `#hello.name'`, `^hello-`},
		{"`fetchTarball` with another name", eval(`toString (fetchTarball { name = "other"; ` + archive + ` sha256 = "` + in.sha256 + `"; })`), `^/nix/store/[0-9a-z]{32}-other$`},
		{"`fetchTarball` without a hash", eval(`toString (fetchTarball { ` + archive + ` })`), source},
		{"`nixpkgs/<branch>#hello`", `nix eval --raw nixpkgs/nixos-unstable#hello.name`, `^hello-`},
	}
}

// writePins adds what the ways of ways read to the folder of writeFlakes.
func (in inside) writePins(t *testing.T, address string) (dir string) {
	t.Helper()
	dir = in.writeFlakes(t, in.narHash)
	flake, err := os.ReadFile(filepath.Join(dir, "unlocked/flake.nix"))
	if err != nil {
		t.Fatal(err)
	}
	url := "https://github.com/NixOS/nixpkgs/archive/" + in.rev + ".tar.gz"
	for name, text := range map[string]string{
		"tarball/flake.nix": strings.Replace(string(flake), `"nixpkgs"`, `"`+url+`"`, 1),
		"tarball/flake.lock": `{ "version": 7, "root": "root", "nodes": { "root": { "inputs": { "nixpkgs": "nixpkgs" } }, "nixpkgs": {
			"locked": { "type": "tarball", "url": "` + url + `", "narHash": "` + in.narHash + `" },
			"original": { "type": "tarball", "url": "` + url + `" } } } }`,
		// what the functions of both tools come down to
		"niv/sources.json": `{ "nixpkgs": { "type": "tarball", "sha256": "` + in.sha256 + `", "url": "` + address + `/x.tar.gz" } }`,
		"niv/sources.nix": `builtins.mapAttrs (name: spec: fetchTarball { name = "${name}-src"; inherit (spec) url sha256; })
			(builtins.fromJSON (builtins.readFile ./sources.json))`,
		"npins/sources.json": `{ "pins": { "nixpkgs": { "type": "Git", "hash": "` + in.narHash + `", "url": "` + address + `/x.tar.gz" } }, "version": 5 }`,
		"npins/default.nix": `builtins.mapAttrs (_: pin: fetchTarball { inherit (pin) url; sha256 = pin.hash; })
			(builtins.fromJSON (builtins.readFile ./sources.json)).pins`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// columnOfPins tries each way with a version, for each caller. A cell has the
// outcome, or where callers differ, theirs.
func (in inside) columnOfPins(t *testing.T, v string, requests *counter) (cells []string) {
	t.Helper()
	callers := in.callers(t)
	outcomes := make([][]string, len(in.ways("")))
	pins := in.writePins(t, requests.url)
	for _, who := range callers {
		o := who.o
		o.HostNetwork = true
		o.Env = append(slices.Clone(o.Env),
			"NIX_CONFIG="+cacheSettings(requests.url+"/cache", in.upstream.PublicKey())+"\ndownload-attempts = 1",
			"http_proxy="+requests.url, "https_proxy="+requests.url, "all_proxy="+requests.url, "no_proxy=")
		o.Mounts = append(slices.Clone(o.Mounts), containertest.Mount{Source: pins, Target: "/flakes", ReadOnly: true})
		c := in.engine.Start(t, in.image, in.withVersion(t, v, o))
		for i, w := range in.ways(requests.url) {
			requests.take()
			command := who.c
			command.Args = []string{"sh", "-c", w.script}
			r := c.Exec(t, command)
			outcomes[i] = append(outcomes[i], outcome(w, r, requests.take()))
			t.Logf("Nix %s, %s, %s: %s %q\n%s", v, who.name, w.name, outcomes[i][len(outcomes[i])-1], r.Stdout, tail(r.Stderr))
		}
	}
	for _, found := range outcomes {
		cells = append(cells, cell(callers, found))
	}
	return cells
}

// outcome is what a try came to: found in the image, or not, or not without a request.
func outcome(w way, r containertest.Result, requests []string) string {
	switch {
	case len(requests) > 0:
		return "asks"
	case r.Code == 0 && regexp.MustCompile(w.like).MatchString(strings.TrimSpace(r.Stdout)):
		return "yes"
	case strings.Contains(r.Stderr, "Permission denied") || strings.Contains(r.Stderr, "Read-only file system") || strings.Contains(r.Stderr, "is not supported by store"):
		return "wants to write"
	}
	return "no"
}

// cell joins the outcomes of all callers.
func cell(callers []caller, outcomes []string) string {
	if len(slices.Compact(slices.Clone(outcomes))) == 1 {
		return outcomes[0]
	}
	text := outcomes[0]
	for _, other := range []string{"yes", "no", "asks", "wants to write"} {
		var names []string
		for i, o := range outcomes {
			if o == other && o != outcomes[0] {
				names = append(names, callers[i].name)
			}
		}
		if len(names) > 0 {
			text += "; " + strings.Join(names, ", ") + ": " + other
		}
	}
	return text
}
