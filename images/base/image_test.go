package base_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

const testChannel = "nixos-unstable"

var fixture = sync.OnceValues(func() (*standin.Fixture, error) {
	return standin.Prepare(context.Background(), standin.Options{})
})

// miniature unpacks the head of a channel of the miniature nixpkgs.
func miniature(t *testing.T) (f *standin.Fixture, rev, dir string) {
	t.Helper()
	f, err := fixture()
	if err != nil {
		t.Fatal(err)
	}
	commits := f.Channels()[testChannel]
	rev = commits[len(commits)-1].Rev
	dir = t.TempDir()
	if out, err := exec.Command("tar", "-xzf", f.ArchiveFile(rev), "-C", dir, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return f, rev, dir
}

// arguments are those of a nixpkgs whose store paths are made up.
func arguments(t *testing.T, dir, system, rev string) toolset.Args {
	t.Helper()
	hash := nix.Hash{1, 2, 3}
	source, err := nix.SourcePath("nixpkgs-src", hash, nil)
	if err != nil {
		t.Fatal(err)
	}
	alias, err := nix.SourcePath("source", hash, nil)
	if err != nil {
		t.Fatal(err)
	}
	return toolset.Args{
		Nixpkgs: dir, System: system, Source: source, SourceAlias: alias, NarHash: hash,
		LastModified: 1700000000, Rev: gittest.Rev(rev), Channel: testChannel,
	}
}

func evaluate(t *testing.T, args toolset.Args) (toolset.Toolset, error) {
	t.Helper()
	cli, err := evaluator.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return toolset.Evaluate(t.Context(), cli, ".", t.TempDir(), args)
}

var attributes = []string{
	"nix", "bashInteractive", "coreutils", "findutils", "cacert", "gnutar", "gzip", "cachix", "attic-client", "gitMinimal",
	"openssh", "curl", "xz", "zstd", "gnused", "gnugrep", "jq", "less", "tmate", "nix-ld",
}

func TestImage(t *testing.T) {
	f, rev, dir := miniature(t)
	for system, loader := range map[string]string{
		"x86_64-linux":  "/lib64/ld-linux-x86-64.so.2",
		"aarch64-linux": "/lib/ld-linux-aarch64.so.1",
	} {
		t.Run(system, func(t *testing.T) {
			args := arguments(t, dir, system, rev)
			set, err := evaluate(t, args)
			if err != nil {
				t.Fatal(err)
			}
			outputs := f.Outputs(rev, system)
			paths := map[string]string{}
			var attrs []string
			for _, tool := range set.Tools {
				attrs = append(attrs, tool.Attr)
				paths[tool.Attr] = tool.Path.String()
				// the default output comes first: bin of those that have one
				if len(outputs[tool.Attr]) == 0 || outputs[tool.Attr][0] != tool.Path.String() {
					t.Errorf("%s: path %s, want the first of %q", tool.Attr, tool.Path, outputs[tool.Attr])
				}
				if tool.Name == "" || tool.Version == "" || !strings.HasSuffix(tool.DrvPath, ".drv") || tool.Output == "" {
					t.Errorf("%s: incomplete: %+v", tool.Attr, tool)
				}
			}
			if diff := cmp.Diff(attributes, attrs); diff != "" {
				t.Errorf("tools (-want +got):\n%s", diff)
			}
			if len(set.Missing) > 0 {
				t.Errorf("missing: %q", set.Missing)
			}
			for _, p := range set.Roots(args.Source, args.SourceAlias) {
				if _, err := os.Stat(filepath.Join(f.CacheFolder(), p.Digest()+".narinfo")); err != nil {
					t.Errorf("no cache has %s", p)
				}
			}
			checkSettings(t, set, args, paths, loader)
		})
	}
}

func checkSettings(t *testing.T, set toolset.Toolset, args toolset.Args, paths map[string]string, loader string) {
	t.Helper()
	const bundle = "/etc/ssl/certs/ca-bundle.crt"
	certificates := paths["cacert"] + bundle
	wantLinks := map[string]string{
		"/bin/sh":                            paths["bashInteractive"] + "/bin/sh",
		"/bin/bash":                          paths["bashInteractive"] + "/bin/bash",
		"/bin/cat":                           paths["coreutils"] + "/bin/cat",
		"/bin/echo":                          paths["coreutils"] + "/bin/echo",
		"/usr/bin/env":                       paths["coreutils"] + "/bin/env",
		"/usr/bin/mkfifo":                    paths["coreutils"] + "/bin/mkfifo",
		"/run/profile":                       "../nix/profile",
		loader:                               paths["nix-ld"] + "/libexec/nix-ld",
		"/etc/ssl/certs/ca-bundle.crt":       certificates,
		"/etc/ssl/certs/ca-certificates.crt": certificates,
		"/etc/ssl/cert.pem":                  certificates,
		"/etc/pki/tls/certs/ca-bundle.crt":   certificates,
		"/root/.nix-profile":                 "/nix/var/nix/profiles/default",
		"/nix/var/nix/gcroots/profiles":      "/nix/var/nix/profiles",
		"/root/.nix-defexpr/nixpkgs":         args.Source.String(),

		"/nix/var/nix/profiles/per-user/root/channels": "/nix/var/nix/factory/channels",
		"/nix/var/nix/factory/channels/nixpkgs":        args.Source.String(),
	}
	for _, name := range []string{"build", "channel", "collect-garbage", "copy-closure", "daemon", "env", "hash", "instantiate", "prefetch-url", "shell", "store"} {
		wantLinks["/nix/profile/bin/nix-"+name] = "nix"
	}
	if diff := cmp.Diff(wantLinks, set.Links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	const profiles = "/root/.nix-profile/%:/nix/var/nix/profiles/default/%:/nix/profile/%"
	wantEnv := map[string]string{
		"PATH":              strings.ReplaceAll(profiles, "%", "bin") + ":/usr/local/bin:/usr/bin:/bin",
		"MANPATH":           strings.ReplaceAll(profiles, "%", "share/man"),
		"NIX_PATH":          "nixpkgs=" + args.Source.String(),
		"NIX_SSL_CERT_FILE": bundle,
		"SSL_CERT_FILE":     bundle,
		"NIX_BUILD_SHELL":   "/nix/profile/bin/bash",
		"PAGER":             "/nix/profile/bin/less",
	}
	for _, name := range []string{"NIX_LD", "NIX_LD_LIBRARY_PATH"} {
		value := set.Env[name]
		if !strings.HasPrefix(value, "/nix/store/") {
			t.Errorf("%s=%q, want a store path", name, value)
		}
		wantEnv[name] = value
	}
	if !strings.HasSuffix(set.Env["NIX_LD"], "/lib/"+filepath.Base(loader)) {
		t.Errorf("NIX_LD=%q, want the %s of glibc", set.Env["NIX_LD"], filepath.Base(loader))
	}
	if diff := cmp.Diff(wantEnv, set.Env); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
	for name, mode := range map[string]string{"/tmp": "1777", "/var/tmp": "1777", "/root": "0755", "/nix/store/.links": "0755"} {
		if set.Directories[name] != mode {
			t.Errorf("%s has mode %q, want %q", name, set.Directories[name], mode)
		}
	}
	if diff := cmp.Diff([]string{"/nix/profile/bin/bash"}, set.Cmd); diff != "" || set.WorkDir != "/root" {
		t.Errorf("cmd %q in %q", set.Cmd, set.WorkDir)
	}
}

// wrap makes a nixpkgs that is another one with changes to its packages.
func wrap(t *testing.T, nixpkgs, changes string) string {
	t.Helper()
	dir := t.TempDir() // with all that is imported in it: nothing else may be read
	if out, err := exec.Command("cp", "-R", nixpkgs, filepath.Join(dir, "nixpkgs")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, ".version"), []byte("18.03\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := "args: let pkgs = import ./nixpkgs args; in " + changes
	if err := os.WriteFile(filepath.Join(dir, "default.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImageOfOtherNixpkgs(t *testing.T) {
	_, rev, dir := miniature(t)
	tests := []struct {
		name, changes string
		missing       []string
		err           []string
	}{
		{"unchanged", `pkgs`, nil, nil},
		{"not there yet", `removeAttrs pkgs [ "attic-client" "nix-ld" "less" ]`, []string{"attic-client", "less", "nix-ld"}, nil},
		{"gone with a message", `pkgs // { tmate = throw "tmate was removed"; }`, []string{"tmate"}, nil},
		{"insecure", `pkgs // { tmate = pkgs.tmate // { outPath = throw "tmate is marked as insecure"; }; }`, []string{"tmate"}, nil},
		{"not for this system", `pkgs // { cachix = pkgs.cachix // { outPath = assert false; ""; }; }`, []string{"cachix"}, nil},
		{"fails in a way that cannot be caught", `pkgs // { jq = pkgs.jq // { outPath = pkgs.nowhere.path; }; less = abort "no"; }`, []string{"jq", "less"}, nil},
		{"fails without end", `pkgs // { zstd = let f = x: f x + 1; in f 1; }`, []string{"zstd"}, nil},
		{"required and fails so", `pkgs // { gzip = pkgs.gzip // { outPath = pkgs.nowhere.path; }; }`, nil, []string{"required tool gzip", "nowhere"}},
		{"fails, but not for a tool", `pkgs // { zlib = pkgs.nowhere; }`, nil, []string{"nowhere"}},
		{"no version but a file", `pkgs // { lib = removeAttrs pkgs.lib [ "trivial" "version" ]; }`, nil, nil},
		{"null", `pkgs // { jq = null; }`, []string{"jq"}, nil},
		{"an output that was chosen already", `pkgs // { curl = pkgs.xz.out; }`, nil, nil},
		{"required and not there", `removeAttrs pkgs [ "gnutar" ]`, nil, []string{"this nixpkgs lacks the required tool gnutar"}},
		{"required and refused", `pkgs // { nix = pkgs.nix // { outPath = throw "nix is marked as insecure"; }; }`, nil, []string{"nix is marked as insecure"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := evaluate(t, arguments(t, wrap(t, dir, tt.changes), "x86_64-linux", rev))
			for _, want := range tt.err {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
			if tt.err != nil {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, tt.missing...), set.Missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if len(set.Tools)+len(set.Missing) != len(attributes) {
				t.Errorf("%d tools and %d missing, want %d in all", len(set.Tools), len(set.Missing), len(attributes))
			}
			if old := strings.Contains(set.Files["/etc/os-release"], "\nVERSION_ID=\"18.03\"\n"); old != (tt.name == "no version but a file") {
				t.Errorf("os-release:\n%s", set.Files["/etc/os-release"])
			}
			for _, attr := range tt.missing {
				switch attr {
				case "less":
					if set.Env["PAGER"] != "/nix/profile/bin/cat" {
						t.Errorf("PAGER=%s without less", set.Env["PAGER"])
					}
				case "nix-ld":
					if target := set.Links["/lib64/ld-linux-x86-64.so.2"]; !strings.HasSuffix(target, "/lib/ld-linux-x86-64.so.2") {
						t.Errorf("the loader is %s without nix-ld", target)
					}
					if _, ok := set.Env["NIX_LD"]; ok {
						t.Error("NIX_LD is set without nix-ld")
					}
				}
			}
		})
	}
	if _, err := evaluate(t, arguments(t, dir, "i686-linux", rev)); err == nil || !strings.Contains(err.Error(), "no images for the system i686-linux") {
		t.Errorf("i686-linux: error %v", err)
	}
}

// Every way to name nixpkgs leads to the tree in the store, without a network.
func TestNixpkgsIsThere(t *testing.T) {
	_, rev, dir := miniature(t)
	s := newSandbox(t)
	s.must(`mkdir -p tree/nixpkgs-src tree/source
		cat > tree/source/flake.nix <<'END'
{ outputs = { self }: { tree = toString self; lastModified = self.lastModified; rev = self.rev or ""; }; }
END
		echo '{ ... }: { tree = toString ./.; hello = derivation { name = "from-nixpkgs"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; }; }' > tree/source/default.nix
		cp tree/source/* tree/nixpkgs-src/`)
	source := s.must(`nix-store --add-fixed --recursive sha256 tree/nixpkgs-src`)
	alias := s.must(`nix-store --add-fixed --recursive sha256 tree/source`)
	hash := s.must(`nix-hash --type sha256 --base32 tree/source`)
	args := arguments(t, dir, "x86_64-linux", rev)
	for path, text := range map[*nix.StorePath]string{&args.Source: source, &args.SourceAlias: alias} {
		var err error
		if *path, err = nix.ParseStorePath(text); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if args.NarHash, err = nix.ParseHash(hash); err != nil {
		t.Fatal(err)
	}

	set, err := evaluate(t, args)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/etc/nix/registry.json", "/etc/nix/flake-registry.json"} {
		s.write(name, set.Files[name])
	}
	const channels = "/nix/var/nix/profiles/per-user/root/channels"
	s.must(`mkdir -p locked /nix/var/nix/profiles/per-user/root ` + set.Links[channels] + `
		ln -s ` + set.Links[channels] + ` ` + channels + `
		ln -s ` + set.Links[set.Links[channels]+"/nixpkgs"] + ` ` + channels + `/nixpkgs
		cat > locked/flake.nix <<'END'
{ inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable"; outputs = { self, nixpkgs }: { inherit (nixpkgs) tree; }; }
END
		cat > locked/flake.lock <<'END'
{ "version": 7, "root": "root", "nodes": { "root": { "inputs": { "nixpkgs": "nixpkgs" } }, "nixpkgs": {
"locked": { "type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "` + rev + `", "narHash": "` + args.NarHash.SRI() + `", "lastModified": 1700000000 },
"original": { "type": "github", "owner": "NixOS", "repo": "nixpkgs", "ref": "nixos-unstable" } } } }
END`)
	archive := `url = "https://github.com/NixOS/nixpkgs/archive/` + rev + `.tar.gz"; sha256 = "` + hash + `";`
	for _, tt := range []struct{ run, want string }{
		{`nix-instantiate --eval -E '(import <nixpkgs> { }).tree'`, `"` + source + `"`},
		{`nix-instantiate --eval -E '(import (fetchTarball { name = "nixpkgs-src"; ` + archive + ` }) { }).tree'`, `"` + source + `"`},
		{`nix-instantiate --eval -E '(import (fetchTarball { ` + archive + ` }) { }).tree'`, `"` + alias + `"`},
		{`nix eval --raw nixpkgs#tree`, alias},
		{`nix eval --raw nixpkgs#rev`, rev},
		{`nix eval nixpkgs#lastModified`, "1700000000"},
		{`nix-env -qaP --description 'from.*'`, "nixpkgs.hello  from-nixpkgs"},
		// none of these has copied the tree
		{`ls -d /nix/store/*-source`, alias},
		{`nix eval --raw path:/proj/locked#tree`, alias},
		{`nix registry list | grep flake:nixpkgs | cut -d'?' -f1`, "system flake:nixpkgs github:NixOS/nixpkgs/" + rev + "\nglobal flake:nixpkgs github:NixOS/nixpkgs/" + testChannel},
		{`nix registry list | grep flake-utils`, "global flake:flake-utils github:numtide/flake-utils"},
	} {
		r := s.do(tt.run, "NIX_PATH="+set.Env["NIX_PATH"])
		if r.code != 0 || strings.TrimSpace(r.stdout) != tt.want {
			t.Errorf("%s: exit code %d, %q, want %q\n%s", tt.run, r.code, r.stdout, tt.want, r.stderr)
		}
	}
}

// What a bare nixpkgs is to flakes, by the version of the image's Nix.
func TestImageRegistries(t *testing.T) {
	_, rev, dir := miniature(t)
	args := arguments(t, dir, "x86_64-linux", rev)
	known := map[string]any{"rev": rev, "lastModified": 1700000000.0, "narHash": args.NarHash.SRI()}
	with := func(attributes map[string]any) map[string]any {
		all := maps.Clone(known)
		maps.Copy(all, attributes)
		return all
	}
	commit := with(map[string]any{"type": "github", "owner": "NixOS", "repo": "nixpkgs"})
	final := with(map[string]any{"type": "github", "owner": "NixOS", "repo": "nixpkgs", "__final": true})
	folder := with(map[string]any{"type": "path", "path": args.SourceAlias.String()})
	branch := map[string]any{"type": "github", "owner": "NixOS", "repo": "nixpkgs", "ref": testChannel}
	unsure := map[string]any{"type": "path", "path": args.Source.String(), "rev": rev, "lastModified": 1700000000.0}
	tests := []struct {
		nix         string
		alias       bool // there is a store path named source
		own, global []entry
	}{
		{"2.8.0", true, []entry{{true, commit}}, []entry{{false, branch}}},
		{"2.19.9", true, []entry{{true, commit}}, []entry{{false, branch}}},
		{"2.20.0", true, []entry{{true, folder}}, []entry{{false, branch}}},
		{"2.26.3", true, []entry{{true, final}}, []entry{{true, final}, {false, branch}}},
		{"2.34.8", true, []entry{{true, folder}}, []entry{{true, final}, {false, branch}}},
		{"3.0pre1", true, []entry{{true, folder}}, []entry{{true, final}, {false, branch}}},
		{"2.8.0", false, []entry{{true, unsure}}, []entry{{false, branch}}},
		{"2.34.8", false, []entry{{true, unsure}}, []entry{{false, branch}}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.nix, tt.alias), func(t *testing.T) {
			args := args
			args.Nixpkgs = wrap(t, dir, `pkgs // { nix = pkgs.nix // { version = "`+tt.nix+`"; }; }`)
			if !tt.alias {
				args.SourceAlias = args.Source
			}
			set, err := evaluate(t, args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.own, entries(t, set.Files["/etc/nix/registry.json"])); diff != "" {
				t.Errorf("registry.json (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.global, entries(t, set.Files["/etc/nix/flake-registry.json"])); diff != "" {
				t.Errorf("flake-registry.json (-want +got):\n%s", diff)
			}
		})
	}
}

// An entry is one of a flake registry, for nixpkgs.
type entry struct {
	Exact bool
	To    map[string]any
}

func entries(t *testing.T, text string) (found []entry) {
	t.Helper()
	var registry struct {
		Flakes []struct {
			entry
			From struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(text), &registry); err != nil {
		t.Fatal(err)
	}
	for _, f := range registry.Flakes {
		if f.From.ID == "nixpkgs" {
			found = append(found, f.entry)
		}
	}
	return found
}
