package base_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// nixpkgsChecks find nixpkgs in all the ways that people name it. Whatever has
// an address has the given one, where nothing is; flakes is a folder that
// writeFlakes made.
func (in inside) nixpkgsChecks(address, flakes string) []check {
	// same prints 2 and the path if the script prints the path too: Nix itself
	// says where a tree with this hash belongs.
	same := func(name, script string) string {
		path := "nix-store --print-fixed-path --recursive sha256 " + in.sha256 + " " + name
		return "{ " + script + "; echo; " + path + "; } | tr -d '\"' | grep . | uniq -c | sed 's/^ *//'"
	}
	fetch := func(attributes string) string {
		return `nix-instantiate --eval -E 'toString (fetchTarball { url = "` + address + `/x.tar.gz"; sha256 = "` + in.sha256 + `"; ` + attributes + ` })'`
	}
	pure := func(expression string) string { return "nix eval --raw --expr '" + expression + "'" }
	const src, source = `^2 /nix/store/[0-9a-z]{32}-nixpkgs-src$`, `^2 /nix/store/[0-9a-z]{32}-source$`
	return []check{
		{name: "fetchTarball by name", script: same("nixpkgs-src", fetch(`name = "nixpkgs-src";`)), like: src},
		{name: "fetchTarball without a name", script: same("source", fetch("")), like: source},
		{
			name:   "fetchTarball in pure evaluation",
			script: same("nixpkgs-src", pure(`fetchTarball { name = "nixpkgs-src"; url = "`+address+`/x.tar.gz"; sha256 = "`+in.narHash+`"; }`)),
			like:   src,
		},
		{
			name:   "what is fetched is nixpkgs",
			script: `nix-instantiate --eval -E 'with import (fetchTarball { url = "` + address + `/x.tar.gz"; sha256 = "` + in.sha256 + `"; }) { }; lib.version + " " + hello.pname'`,
			like:   `^"26\.05.* hello"$`,
		},
		{name: "channel", script: same("nixpkgs-src", `nix-instantiate --eval -E 'toString <nixpkgs>'`), like: src},
		{name: "import of the channel", script: `nix-instantiate --eval -E '(import <nixpkgs> { }).hello.pname'`, want: `"hello"`},
		{name: "nix-env's names", script: `nix-env -qaP hello`, like: `^nixpkgs\.hello +hello-`},
		{name: "locked flake input", script: same("source", `nix eval --raw path:`+flakes+`/locked#path`), like: source},
		{name: "packages of a locked flake input", script: `nix eval --raw path:` + flakes + `/locked#name`, like: `^hello-`},
		{
			name:   "metadata of the locked flake",
			script: `nix flake metadata --json path:` + flakes + `/locked | jq -r .locks.nodes.nixpkgs.locked.narHash`,
			want:   in.narHash,
		},
		{
			name:   "input of an unlocked flake",
			script: same("source", `nix eval --no-write-lock-file --raw path:`+flakes+`/unlocked#path`),
			like:   source,
		},
		{name: "flake registry", script: same("source", `nix flake metadata --json nixpkgs | jq -r .path`), like: source},
		{name: "package of the flake registry", script: `nix eval --raw nixpkgs#hello.pname`, want: "hello"},
		{name: "revision of the flake registry", script: `nix flake metadata --json nixpkgs | jq -r .revision`, want: in.rev},
		{
			name:   "fetchTree",
			script: same("source", pure(`(builtins.fetchTree { type = "github"; owner = "NixOS"; repo = "nixpkgs"; rev = "`+in.rev+`"; narHash = "`+in.narHash+`"; lastModified = 1; }).outPath`)),
			like:   source,
		},
		{
			name:   "installed already",
			script: `nix-build --no-out-link '<nixpkgs>' -A jq; nix build -o /tmp/jq nixpkgs#jq; readlink /tmp/jq`,
			like:   `^/nix/store/\S+-jq-\S+\n/nix/store/\S+-jq-\S+$`,
		},
		{
			name:   "install of what is there already",
			script: `nix-env -iA nixpkgs.jq; command -v jq; export-profile /tmp/exported; echo '{}' | chroot /tmp/exported /nix/profile/bin/jq -c .; nix-env -e jq`,
			want:   "/root/.nix-profile/bin/jq\n{}",
		},
	}
}

// writeFlakes makes flakes whose input is nixpkgs: one with a lock file and one without.
func (in inside) writeFlakes(t *testing.T, narHash string) (dir string) {
	t.Helper()
	const flake = `{
  inputs.nixpkgs.url = "%s";
  outputs = { self, nixpkgs }: {
    path = nixpkgs.outPath;
    name = nixpkgs.legacyPackages.x86_64-linux.hello.name;
  };
}
`
	const lock = `{
  "nodes": {
    "nixpkgs": {
      "locked": { "lastModified": 1, "narHash": "%s", "owner": "NixOS", "repo": "nixpkgs", "rev": "%s", "type": "github" },
      "original": { "owner": "NixOS", "ref": "%s", "repo": "nixpkgs", "type": "github" }
    },
    "root": { "inputs": { "nixpkgs": "nixpkgs" } }
  },
  "root": "root",
  "version": 7
}
`
	dir = t.TempDir()
	for name, text := range map[string]string{
		"locked/flake.nix":   fmt.Sprintf(flake, "github:NixOS/nixpkgs/"+in.channel),
		"locked/flake.lock":  fmt.Sprintf(lock, narHash, in.rev, in.channel),
		"unlocked/flake.nix": fmt.Sprintf(flake, "nixpkgs"),
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

// testNixpkgs finds nixpkgs where there is no network at all.
func (in inside) testNixpkgs(t *testing.T) {
	c := in.engine.Start(t, in.image, containertest.Options{
		Mounts: []containertest.Mount{{Source: in.writeFlakes(t, in.narHash), Target: "/flakes", ReadOnly: true}},
	})
	checks := append(in.nixpkgsChecks("http://127.0.0.1:9", "/flakes"),
		check{name: "there is no network", script: `curl -s --max-time 10 http://192.0.2.1/ || echo $?`, want: "7"},
		check{name: "another name is not there", code: 1,
			script: `nix-instantiate --option download-attempts 1 --eval -E 'toString (fetchTarball { name = "other"; url = "http://127.0.0.1:9/x.tar.gz"; sha256 = "` + in.sha256 + `"; })'`},
	)
	runChecks(t, c, containertest.Command{}, checks)
}

// A counter answers nothing and remembers what it was asked for, as a proxy too.
type counter struct {
	url string

	mu   sync.Mutex
	seen []string
}

func newCounter(t *testing.T) *counter {
	c := &counter{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, r.Method+" "+r.RequestURI)
	http.Error(w, "there is nothing here", http.StatusNotFound)
}

// take returns what was asked for since it was called last.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// testRequests finds nixpkgs where every request would be seen: the addresses
// are those of a counter, which is also the only binary cache and the proxy for
// everything else. Then it makes mistakes, and the counter has to see them.
func (in inside) testRequests(t *testing.T) {
	c := newCounter(t)
	start := func(flakes string) containertest.Container {
		return in.engine.Start(t, in.image, containertest.Options{
			HostNetwork: true,
			Env: []string{
				"NIX_CONFIG=" + cacheSettings(c.url+"/cache", in.upstream.PublicKey()) + "\ndownload-attempts = 1",
				"http_proxy=" + c.url, "https_proxy=" + c.url, "all_proxy=" + c.url, "no_proxy=",
			},
			Mounts: []containertest.Mount{{Source: flakes, Target: "/flakes", ReadOnly: true}},
		})
	}
	right := start(in.writeFlakes(t, in.narHash))
	runChecks(t, right, containertest.Command{}, in.nixpkgsChecks(c.url, "/flakes"))
	if seen := c.take(); len(seen) != 0 {
		t.Errorf("requests: %q", seen)
	}

	const otherHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	wrong := start(in.writeFlakes(t, otherHash))
	fetch := func(attributes string) string {
		return `nix-instantiate --eval -E 'toString (fetchTarball { url = "` + c.url + `/x.tar.gz"; ` + attributes + ` })'`
	}
	for _, tt := range []struct{ name, script, request string }{
		{"another name", fetch(`name = "other"; sha256 = "` + in.sha256 + `";`), "/x.tar.gz"},
		{"another hash", fetch(`name = "nixpkgs-src"; sha256 = "` + otherHash + `";`), "/x.tar.gz"},
		{"no hash", fetch(""), "/x.tar.gz"},
		{"flake locked to another hash", `nix eval --raw path:/flakes/locked#path`, "github.com"},
		{"another branch of the flake registry's nixpkgs", `nix flake metadata nixpkgs/nixos-unstable`, "github.com"},
		{"a package that is not in the image", `nix-store --realise $(nix-instantiate '<nixpkgs>' -A hello)`, "/cache/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := wrong.Exec(t, containertest.Shell(tt.script))
			seen := c.take()
			if r.Code == 0 || !strings.Contains(strings.Join(seen, " "), tt.request) {
				t.Errorf("%s\nexit code %d, requests %q, want one for %s\n%s", tt.script, r.Code, seen, tt.request, r.Stderr)
			}
		})
	}
}
