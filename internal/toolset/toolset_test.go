package toolset

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

const digest = "0c9xjlyzj5jb8mz6rbf2aqj0kn7i3m4s"

func storePath(t *testing.T, name string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(digest + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoots(t *testing.T) {
	src := storePath(t, "nixpkgs-src")
	set := Toolset{
		Tools: []Tool{{Attr: "nix", Path: storePath(t, "nix-2.31")}, {Attr: "bash", Path: storePath(t, "bash-5")}},
		Env: map[string]string{
			"NIX_PATH": "nixpkgs=" + src.String(),
			"NIX_LD":   storePath(t, "glibc-2.40").String() + "/lib/ld-linux-x86-64.so.2",
			"PATH":     "/nix/profile/bin",
		},
		Files: map[string]string{"/etc/registry.json": `{"path": "` + src.String() + `"}`},
		Links: map[string]string{"/bin/sh": storePath(t, "bash-5").String() + "/bin/sh"},
	}
	var names []string
	for _, p := range set.Roots(src) {
		names = append(names, p.Name())
	}
	if diff := cmp.Diff([]string{"bash-5", "glibc-2.40", "nix-2.31"}, names); diff != "" {
		t.Errorf("Roots() mismatch (-want +got):\n%s", diff)
	}
}

func TestCheckVersion(t *testing.T) {
	tests := []struct {
		name, file, text, found string
		want                    *VersionError
	}{
		{"no file", "", "", "2.8.0", nil},
		{"new enough", "minver.nix", "# at least \"9.9\"\n\"2.3\"\n", "2.8.0", nil},
		{"the same", "minver.nix", `"2.18"`, "2.18", nil},
		{"a suffix", "minver.nix", `"2.18"`, "2.18pre20231010_abc", nil},
		{"too old", "minver.nix", `"2.18"`, "2.8.0", &VersionError{Found: "2.8.0", Wanted: "2.18"}},
		{"another major", "minver.nix", `"3"`, "2.31.1", &VersionError{Found: "2.31.1", Wanted: "3"}},
		{"newer trees", "minfeatures.nix", `condition = builtins ? nixVersion && builtins.compareVersions "2.18" builtins.nixVersion != 1;`, "2.8.0", &VersionError{Found: "2.8.0", Wanted: "2.18"}},
		{"no version in it", "minver.nix", "builtins.nixVersion", "2.8.0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				write(t, filepath.Join(dir, "lib", tt.file), tt.text)
			}
			err := checkVersion(tt.found, dir)
			var got *VersionError
			errors.As(err, &got)
			if diff := cmp.Diff(tt.want, got); diff != "" || tt.want == nil && err != nil {
				t.Errorf("checkVersion() = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// What a tree has in the place of that file may be anything.
func TestCheckVersionOfAnything(t *testing.T) {
	for name, make := range map[string]func(file string) error{
		"escapes":      func(file string) error { return os.Symlink("/dev/zero", file) },
		"path escapes": func(file string) error { return os.Symlink("../../x", file) },
		"a pipe":       func(file string) error { return syscall.Mkfifo(file, 0o644) },
		"a folder":     func(file string) error { return os.Mkdir(file, 0o755) },
		"larger than":  func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o644) },
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "lib/other"), "")
		if err := make(filepath.Join(dir, "lib/minver.nix")); err != nil {
			t.Fatal(err)
		}
		if err := checkVersion("2.8.0", dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: checkVersion() = %v", name, err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "lib/other"), `"2.18"`)
	if err := os.Symlink("other", filepath.Join(dir, "lib/minver.nix")); err != nil {
		t.Fatal(err)
	}
	if err := checkVersion("2.8.0", dir); !errors.As(err, new(*VersionError)) {
		t.Errorf("a link inside the tree: checkVersion() = %v", err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The image folder is evaluated by real Nix; all arguments arrive as strings.
func TestEvaluate(t *testing.T) {
	cli, err := evaluator.Find(t.Context())
	if err != nil {
		t.Skipf("%v (Debian package nix-bin)", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "image/image.nix"), `
{ nixpkgs, system, source, sourceAlias, narHash, lastModified, rev, channel }:
let tool = derivation { name = "tool-1"; inherit system; builder = "/bin/sh"; outputs = [ "out" "bin" ]; };
in {
  tools = [ { attr = "tool"; name = "tool"; version = "1"; path = tool.bin.outPath; drvPath = tool.drvPath; output = "bin"; } ];
  missing = [ (import nixpkgs) ];
  env = { ARGS = toString [ system source sourceAlias narHash lastModified rev channel ]; };
  files = { }; links = { }; directories = { }; cmd = [ "sh" ]; workdir = "/";
}
`)
	write(t, filepath.Join(dir, "nixpkgs/default.nix"), `"from nixpkgs"`)
	args := Args{
		Nixpkgs: filepath.Join(dir, "nixpkgs"), System: "aarch64-linux", Source: storePath(t, "nixpkgs-src"), SourceAlias: storePath(t, "source"),
		LastModified: 7, Rev: gittest.Rev("abc"), Channel: "nixos-x",
	}
	set, err := Evaluate(t.Context(), cli, filepath.Join(dir, "image"), filepath.Join(dir, "scratch"), args)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Tools) != 1 || set.Tools[0].Path.Name() != "tool-1-bin" || !strings.HasSuffix(set.Tools[0].DrvPath, "-tool-1.drv") {
		t.Errorf("tools: %+v", set.Tools)
	}
	want := strings.Join([]string{"aarch64-linux", args.Source.String(), args.SourceAlias.String(), nix.Hash{}.SRI(), "7", gittest.Rev("abc").String(), "nixos-x"}, " ")
	if set.Env["ARGS"] != want {
		t.Errorf("arguments: %q, want %q", set.Env["ARGS"], want)
	}
	if diff := cmp.Diff([]string{"from nixpkgs"}, set.Missing); diff != "" {
		t.Errorf("nixpkgs was not imported:\n%s", diff)
	}
}
