package toolset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

// imageArgs are those of a nixpkgs that is one package.
func imageArgs(t *testing.T, dir string) Args {
	t.Helper()
	write(t, filepath.Join(dir, "nixpkgs/default.nix"),
		`{ system, ... }: { tool = derivation { name = "tool-1"; inherit system; builder = "/bin/sh"; }; }`)
	return Args{
		Nixpkgs: filepath.Join(dir, "nixpkgs"), System: "x86_64-linux", Source: storePath(t, "nixpkgs-src"), SourceAlias: storePath(t, "source"),
		NarHash: [32]byte{1}, LastModified: 1780221600, Rev: gittest.Rev("0123456789"), Channel: "nixos-x",
	}
}

func find(t *testing.T) evaluator.Nix {
	t.Helper()
	cli, err := evaluator.Find(t.Context())
	if err != nil {
		t.Skipf("%v (Debian package nix-bin)", err)
	}
	return cli
}

// An image folder reads the one that it builds on, and no other.
func TestEvaluateOnAnother(t *testing.T) {
	cli := find(t)
	dir := t.TempDir()
	args := imageArgs(t, dir)
	write(t, filepath.Join(dir, "base/image.nix"), `{ nixpkgs, system, ... }: { tools = [ (import nixpkgs { inherit system; }).tool ]; cmd = import ./cmd.nix; env.A = "base"; }`)
	write(t, filepath.Join(dir, "base/cmd.nix"), `[ "run" ]`)
	write(t, filepath.Join(dir, "other/image.nix"), `{ ... }: { tools = [ ]; }`)
	write(t, filepath.Join(dir, "secret"), `"secret"`)
	link(t, "../base", filepath.Join(dir, "on/base"))
	file := filepath.Join(dir, "on/image.nix")
	for text, want := range map[string]string{
		`args@{ nixpkgs, system, ... }: import ./base/image.nix args // { env.A = "own"; }`: "",
		`args@{ nixpkgs, system, ... }: import ../base/image.nix args`:                      "",
		`args@{ nixpkgs, system, ... }: import ../other/image.nix args`:                     "forbidden in restricted mode",
		`args@{ nixpkgs, system, ... }: { cmd = [ (import ../secret) ]; }`:                  "forbidden in restricted mode",
	} {
		write(t, file, text)
		set, err := Evaluate(t.Context(), cli, filepath.Join(dir, "on"), filepath.Join(dir, "scratch"), args)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %+v, %v, want an error with %q", text, set, err, want)
		case want == "":
			if diff := cmp.Diff([]string{"run"}, set.Cmd); diff != "" || set.Tools[0].Version != "1" {
				t.Errorf("%s: %+v", text, set)
			}
		}
	}
}

func link(t *testing.T, target, at string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, at); err != nil {
		t.Fatal(err)
	}
}

// An image without nixpkgs is not to depend on a commit in any of its texts.
func TestEvaluateWithoutNixpkgs(t *testing.T) {
	cli := find(t)
	dir := t.TempDir()
	args := imageArgs(t, dir)
	file := filepath.Join(dir, "image/image.nix")
	evaluated := func(nixpkgs, fields string) error {
		write(t, file, `{ nixpkgs, system, source, sourceAlias, narHash, lastModified, rev, channel }: {
			tools = [ (import nixpkgs { inherit system; }).tool ]; nixpkgs = `+nixpkgs+`; `+fields+` }`)
		_, err := Evaluate(t.Context(), cli, filepath.Dir(file), filepath.Join(dir, "scratch"), args)
		return err
	}
	for fields, want := range map[string]string{
		`files."/etc/a" = "of ${rev}";`:                             `files."/etc/a": it has the commit in it`,
		`files."/etc/a" = builtins.substring 0 12 rev;`:             `files."/etc/a": it has the commit in it`,
		`env.NIX_PATH = "nixpkgs=${source}";`:                       `env."NIX_PATH": it has the store path of nixpkgs in it`,
		`links."/src" = sourceAlias;`:                               `links."/src": it has the store path of nixpkgs in it`,
		`labels."a.b" = narHash;`:                                   `labels."a.b": it has the hash of nixpkgs in it`,
		`entrypoint = [ "date" "--date=@${lastModified}" ];`:        `entrypoint[1]: it has the time of the commit in it`,
		`cmd = [ rev ];`:                                            `cmd[0]: it has the commit in it`,
		`version = rev;`:                                            `version: it has the commit in it`,
		`cmd = [ "run" ]; version = "1"; files."/a" = toString 12;`: "",
	} {
		err := evaluated("false", fields)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), file+": "+want)) {
			t.Errorf("%s: %v, want an error with %q", fields, err, want)
		}
		if err := evaluated("true", fields); err != nil {
			t.Errorf("with nixpkgs: %s: %v", fields, err)
		}
	}
}
