package nixbuild

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/realise"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

const (
	within  = "NIXBUILD_TEST_WITHIN" // set where /nix is a store of the test's own
	project = "NIXBUILD_TEST_PROJECT"
)

// images are a flake and a Nix file with images by three makers.
const (
	images = `
{ pkgs ? import <nixpkgs> { } }:
let
  app = pkgs.writeShellScriptBin "app" "exec ${pkgs.hello}/bin/hello";
  config.Cmd = [ "${app}/bin/app" ];
in
{
  archive = pkgs.dockerTools.buildLayeredImage { name = "app"; inherit config; contents = [ app ]; };
  stream = pkgs.dockerTools.streamLayeredImage { name = "app"; inherit config; contents = [ app ]; };
  json = pkgs.nix2container.buildImage { name = "app"; inherit config; };
  never = pkgs.runCommand "never" { } "echo why it fails >&2; exit 1";
  long = pkgs.runCommand "long" { } "echo it has begun >&2; sleep 98765";
}
`
	flake = `
{
  inputs.nixpkgs.url = "path:TREE";
  outputs = { self, nixpkgs }: {
    packages.x86_64-linux = import ./default.nix { pkgs = nixpkgs.legacyPackages.x86_64-linux; };
  };
}
`
)

// inside runs a test where /nix is a store of its own, with the packages of the
// miniature nixpkgs in a binary cache. It returns false outside of it.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(within) != "" {
		t.Chdir(os.Getenv(project))
		return true
	}
	t.Parallel()
	fixture, err := standin.Prepare(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { standin.RemovePrivateNix(dir) })
	prefix, env, err := fixture.PrivateNix(dir)
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(dir, "project")
	tree := filepath.Join(dir, "nixpkgs")
	for _, d := range []string{here, tree} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("tar", "xf", fixture.ArchiveFile(fixture.Commit("next").Rev), "-C", tree, "--strip-components=1", "--exclude=pkgs/test").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range map[string]string{"default.nix": images, "flake.nix": strings.ReplaceAll(flake, "TREE", tree)} {
		if err := os.WriteFile(filepath.Join(here, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	argv := append(prefix, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), env...), within+"=1", project+"="+here, "NIX_PATH=nixpkgs="+tree, "ATTIC_TOKEN=secret")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("inside: %v\n%s", err, out)
	}
	return false
}

// lines gets what Nix says, and tells when it has said something.
type lines struct {
	bytes.Buffer
	until string
	said  chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	if l.said != nil && strings.Contains(l.String(), l.until) {
		close(l.said)
		l.said = nil
	}
	return n, err
}

func find(t *testing.T) (evaluator.Nix, *lines) {
	t.Helper()
	with, err := evaluator.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := new(lines)
	with.Stderr = said
	return with, said
}

func TestBuild(t *testing.T) {
	if !inside(t) {
		return
	}
	with, said := find(t)
	paths := map[string]string{}
	for _, target := range []Target{{Flake: ".#archive"}, {Attr: "archive"}, {File: ".", Attr: "stream"}, {Flake: "path:.#json"}} {
		r, err := Build(t.Context(), with, target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(r.Path); err != nil || !strings.HasSuffix(r.Derivation.String(), ".drv") {
			t.Errorf("%s: %+v, error %v", target, r, err)
		}
		paths[target.String()] = r.Path
	}
	if paths[".#archive"] != paths["default.nix archive"] {
		t.Errorf("the same image is %s and %s", paths[".#archive"], paths["default.nix archive"])
	}
	r, err := Build(t.Context(), with, Target{Attr: "stream"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(r.Path, "result"); err != nil {
		t.Fatal(err)
	}
	if before, err := Before(t.Context(), with, "result"); err != nil || before != r {
		t.Errorf("built before: %+v, error %v, want %+v", before, err, r)
	}
	for file, want := range map[string]bool{"result": true, r.Path: true, "default.nix": false, "no such file": false, "/nix/store": false} {
		if got := InStore(file); got != want {
			t.Errorf("InStore(%q) = %v, want %v", file, got, want)
		}
	}
	if !strings.Contains(said.String(), "building '/nix/store/") {
		t.Errorf("what Nix says meanwhile is %q", said.String())
	}
	for target, want := range map[Target]string{
		{Flake: ".#never"}:           "build .#never: nix: ",
		{Flake: ".#none"}:            "does not provide attribute",
		{Attr: "none"}:               "build default.nix none: nix: attribute 'none' in selection path 'none' not found",
		{File: "no.nix", Attr: "x"}:  "no.nix",
		{Flake: "--option"}:          `"--option" starts with a hyphen`,
		{Flake: ".#archive,#stream"}: "build .#archive,#stream: ",
	} {
		if _, err := Build(t.Context(), with, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", target, err, want)
		}
	}
}

// TestInterrupted: nothing that Nix has started is left.
func TestInterrupted(t *testing.T) {
	if !inside(t) {
		return
	}
	with, said := find(t)
	said.until, said.said = "building '", make(chan struct{})
	begun := said.said
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		select {
		case <-begun:
		case <-time.After(time.Minute):
		}
		cancel()
	}()
	if _, err := Build(ctx, with, Target{Attr: "long"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		if line, _ := os.ReadFile(file); string(line) == "sleep\x0098765\x00" { // one that has ended is no error
			t.Errorf("still there: %s", file)
		}
	}
}

// TestClosure: what went into an image is found, archives are not in it unless
// they are asked for, and each path comes with what it refers to.
func TestClosure(t *testing.T) {
	if !inside(t) {
		return
	}
	with, _ := find(t)
	for _, c := range []struct {
		attr     string
		archives bool
		unknown  bool // the derivation is not known
		with     []string
		without  []string
	}{
		{"archive", false, false, []string{"-app", "-hello-", "-glibc-"}, []string{"-app.tar.gz"}},
		{"archive", true, false, []string{"-app", "-hello-", "-app.tar.gz", "-customisation-layer"}, nil},
		{"archive", false, true, nil, []string{"-app.tar.gz", "-hello-"}},
		{"stream", false, false, []string{"-app", "-stream-app", "-customisation-layer"}, []string{".drv"}},
		{"json", false, true, []string{"-app", "-hello-", "-image-app.json"}, []string{"-layer.json"}},
	} {
		r, err := Build(t.Context(), with, Target{Attr: c.attr})
		if err != nil {
			t.Fatal(err)
		}
		if c.unknown {
			r.Derivation = nix.StorePath{}
		}
		infos, err := Closure(t.Context(), with, r, c.archives)
		if err != nil {
			t.Fatal(err)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(infos, func(i nix.PathInfo) bool { return strings.Contains(i.Path.String()+" ", name) })
		}
		for _, name := range c.with {
			if !has(name) {
				t.Errorf("%+v: no %s in %d paths", c, name, len(infos))
			}
		}
		for _, name := range c.without {
			if has(name) {
				t.Errorf("%+v: has %s", c, name)
			}
		}
		for _, info := range infos {
			for _, ref := range info.References {
				if !has(ref.String()) {
					t.Errorf("%+v: %s is without %s", c, info.Path, ref)
				}
			}
		}
		signed := slices.ContainsFunc(infos, func(i nix.PathInfo) bool { return len(i.Sigs) > 0 })
		if !signed && has("-hello-") {
			t.Errorf("%+v: nothing has the cache's signature", c)
		}
		if len(infos) > 0 {
			checkNAR(t, with, infos[0])
		}
	}
}

// checkNAR holds what Nix says of a path against its NAR.
func checkNAR(t *testing.T, with evaluator.Nix, info nix.PathInfo) {
	t.Helper()
	again, err := realise.Store{Nix: with}.Info(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	again.Sigs, again.Ultimate = info.Sigs, info.Ultimate
	if diff := cmp.Diff(again, info); diff != "" {
		t.Errorf("%s (-nix-store +nix path-info):\n%s", info.Path, diff)
	}
}
