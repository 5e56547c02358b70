package base_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/pin"
)

// A project that names nixpkgs in six ways, by a commit and hashes that are nobody's.
// What reads the files of niv and npins does with them what those do: niv names what it
// fetches by the source, npins does not.
const (
	oldRev  = "0000000000000000000000000000000000000001"
	oldHash = "0000000000000000000000000000000000000000000000000001"
	oldSRI  = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

var pinnedProject = map[string]string{
	"Dockerfile": "FROM ghcr.io/org/nixpkgs-nixos-26.05:" + oldRev + " AS build\n",
	"default.nix": `fetchTarball {
  name = "nixpkgs-src";
  url = "https://github.com/NixOS/nixpkgs/archive/` + oldRev + `.tar.gz";
  sha256 = "` + oldHash + `";
}
`,
	"niv.nix": "let s = (builtins.fromJSON (builtins.readFile ./nix/sources.json)).nixpkgs; in fetchTarball { name = \"nixpkgs-src\"; inherit (s) url sha256; }\n",
	"nix/sources.json": `{
    "nixpkgs": {
        "branch": "nixos-26.05", "owner": "NixOS", "repo": "nixpkgs", "rev": "` + oldRev + `",
        "sha256": "` + oldHash + `", "type": "tarball",
        "url": "https://github.com/NixOS/nixpkgs/archive/` + oldRev + `.tar.gz",
        "url_template": "https://github.com/<owner>/<repo>/archive/<rev>.tar.gz"
    }
}
`,
	"npins.nix": "let p = (builtins.fromJSON (builtins.readFile ./npins/sources.json)).pins.nixpkgs; in fetchTarball { inherit (p) url; sha256 = p.hash; }\n",
	"npins/sources.json": `{
  "pins": {
    "nixpkgs": {
      "type": "Git",
      "repository": { "type": "GitHub", "owner": "NixOS", "repo": "nixpkgs" },
      "branch": "nixos-26.05", "submodules": false, "revision": "` + oldRev + `",
      "url": "https://github.com/NixOS/nixpkgs/archive/` + oldRev + `.tar.gz",
      "hash": "` + oldHash + `", "frozen": false
    }
  },
  "version": 5
}
`,
	"npins8.nix": "let p = (builtins.fromJSON (builtins.readFile ./npins8/sources.json)).pins.nixpkgs; in fetchTarball { inherit (p) url; sha256 = p.hash; }\n",
	"npins8/sources.json": `{
  "pins": {
    "nixpkgs": {
      "type": "Git",
      "repository": { "type": "GitHub", "owner": "NixOS", "repo": "nixpkgs" },
      "branch": "nixos-26.05", "submodules": false, "lfs": false, "revision": "` + oldRev + `",
      "url": "https://github.com/NixOS/nixpkgs/archive/` + oldRev + `.tar.gz",
      "hash": "` + oldSRI + `"
    }
  },
  "version": 8
}
`,
	"flake/flake.nix": `{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  outputs = { self, nixpkgs }: { path = nixpkgs.outPath; };
}
`,
	"flake/flake.lock": `{
  "nodes": {
    "nixpkgs": {
      "locked": { "lastModified": 1, "narHash": "` + oldSRI + `", "owner": "NixOS", "repo": "nixpkgs", "rev": "` + oldRev + `", "type": "github" },
      "original": { "owner": "NixOS", "ref": "nixos-26.05", "repo": "nixpkgs", "type": "github" }
    },
    "root": { "inputs": { "nixpkgs": "nixpkgs" } }
  },
  "root": "root",
  "version": 7
}
`,
}

// pinProject writes the project, its pins moved by what factory pin does with them.
func (in inside) pinProject(t *testing.T, move bool) (dir string) {
	t.Helper()
	rev, err := git.ParseRev(in.rev)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := nix.ParseHash(in.narHash)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for name, text := range pinnedProject {
		data := []byte(text)
		if move && pin.Knows(name) {
			data = moved(t, name, data, pin.Target{Rev: rev, NarHash: hash, LastModified: 1e9})
		}
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func moved(t *testing.T, name string, text []byte, to pin.Target) []byte {
	t.Helper()
	spots, err := pin.Find(name, text, pin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var edits []pin.Edit
	for _, s := range spots {
		more, err := s.Edits(to)
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, more...)
	}
	changed, err := pin.Apply(text, edits)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(changed), oldRev) {
		t.Errorf("%s still names the old commit:\n%s", name, changed)
	}
	return changed
}

// testPinned builds where every request would be seen, in a project that factory pin
// has moved to the image's commit. Before that, each of its ways asks for nixpkgs.
func (in inside) testPinned(t *testing.T) {
	c := newCounter(t)
	ways := map[string]string{
		"default.nix": "nix-instantiate --eval -E 'toString (import /p/default.nix)'",
		"niv":         "nix-instantiate --eval -E 'toString (import /p/niv.nix)'",
		"npins":       "nix-instantiate --eval -E 'toString (import /p/npins.nix)'",
		"npins 8":     "nix-instantiate --eval -E 'toString (import /p/npins8.nix)'",
		"flake":       "nix eval path:/p/flake#path",
	}
	start := func(move bool) containertest.Container {
		return in.engine.Start(t, in.image, containertest.Options{
			HostNetwork: true,
			Env: []string{
				"NIX_CONFIG=" + cacheSettings(c.url+"/cache", in.upstream.PublicKey()) + "\ndownload-attempts = 1",
				"http_proxy=" + c.url, "https_proxy=" + c.url, "all_proxy=" + c.url, "no_proxy=",
			},
			Mounts: []containertest.Mount{{Source: in.pinProject(t, move), Target: "/p", ReadOnly: true}},
		})
	}
	var pinned []check
	for name, script := range ways {
		pinned = append(pinned, check{name: name, script: script, like: `^"/nix/store/[0-9a-z]{32}-(nixpkgs-src|source)"$`})
	}
	pinned = append(pinned, check{name: "a build", script: "nix-build --no-out-link -E '(import (import /p/niv.nix) { }).jq'", like: `^/nix/store/\S+-jq-\S+$`})
	runChecks(t, start(true), containertest.Command{}, pinned)
	if seen := c.take(); len(seen) != 0 {
		t.Errorf("requests: %q", seen)
	}

	before := start(false)
	for name, script := range ways {
		runChecks(t, before, containertest.Command{}, []check{{name: name + " before", script: script, code: 1}})
		if seen := c.take(); len(seen) == 0 {
			t.Errorf("%s, before it is pinned: no request, so that none would be seen", name)
		}
	}
}
