package base_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// How the image is meant to be used is in examples. The arguments are what a test
// has to add: which image, and a binary cache.
const (
	manySteps = `ARG BASE
FROM $BASE
ARG NIX_CONFIG
RUN nix-env -iA nixpkgs.hello
RUN test "$(hello)" = "Hello, world!" && nix-store --version && git --version && export-profile --help
SHELL ["bash-tmate", "-c"]
RUN nix-env -i jq | cat && test "$(command -v jq)" = /root/.nix-profile/bin/jq
RUN ["export-profile", "/dist"]
USER 1000
RUN test "$(id -u) $PWD" = "1000 /root" && test "$(echo $(ls /dist/nix/profile/bin))" = "hello jq"
WORKDIR /tmp
RUN chroot --version > version
`
	myEnv = `let
  pkgs = import <nixpkgs> { };
in
{
  myEnv = pkgs.buildEnv {
    name = "my-env";
    paths = [ pkgs.hello ];
  };
}
`
)

// project is a folder with a Dockerfile and the Nix expression of myEnv.
func project(t *testing.T, dockerfile string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"Dockerfile": dockerfile, "default.nix": myEnv} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (in inside) build(t *testing.T, dir string) (image string) {
	t.Helper()
	return in.engine.Build(t, dir, "BASE="+in.image, "NIX_CONFIG="+cacheSettings(in.upstream.Cache(), in.upstream.PublicKey()))
}

// testTwoStages builds images on the image.
func (in inside) testTwoStages(t *testing.T) {
	example, err := os.ReadFile("../../examples/hello/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dir := project(t, string(example)+"RUN [\"hello\"]\n")
	image := in.build(t, dir) // fails unless RUN ["hello"] works
	final := in.engine.Read(t, image)
	for name, o := range map[string]containertest.Options{
		"as it is": {}, "in a runtime with a /run of its own": {Tmpfs: []string{"/run"}},
	} {
		if r := in.engine.Run(t, image, o, containertest.Command{Args: final.Config.Cmd}); r.Code != 0 || r.Stdout != "Hello, world!\n" {
			t.Errorf("the final image, %s: %q: %+v", name, final.Config.Cmd, r)
		}
	}
	for _, problem := range finalProblems(final, in.closure(t, dir)) {
		t.Errorf("final image: %s", problem)
	}
	if _, ok := final.Find("/nix/profile/bin/hello"); !ok {
		t.Error("final image: there is no /nix/profile/bin/hello")
	}

	t.Run("many steps", func(t *testing.T) {
		c := in.engine.Read(t, in.build(t, project(t, manySteps)))
		for _, want := range []string{"/dist/nix/profile/bin/hello", "/root/.nix-profile", "/tmp/version"} {
			if _, ok := c.Find(want); !ok {
				t.Errorf("there is no %s", want)
			}
		}
	})
}

// closure installs myEnv in a container and asks Nix what it needs: store paths
// with their sizes as archives.
func (in inside) closure(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	o := in.online()
	o.Mounts = []containertest.Mount{{Source: dir, Target: "/src", ReadOnly: true}}
	r := in.engine.Run(t, in.image, o, containertest.Shell(`nix-env -f /src -iA myEnv && nix path-info --recursive --json "$(readlink -f /root/.nix-profile)"`))
	var infos []struct {
		Path    string `json:"path"`
		NarSize int64  `json:"narSize"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &infos); err != nil || r.Code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	closure := make(map[string]int64)
	for _, i := range infos {
		closure[i.Path] = i.NarSize
	}
	return closure
}

// ofBuilder tells whether a file is one that builders leave in an image after
// RUN in a stage that had nothing: places to mount something on.
func ofBuilder(f containertest.File) bool {
	switch f.Path {
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv":
		return f.Size == 0
	case "/etc", "/dev", "/proc", "/sys":
		return f.Mode.IsDir()
	}
	return strings.HasPrefix(f.Path, "/dev/") && f.Mode.IsDir()
}

// finalProblems holds an image against a closure: it has all of that, and besides
// nothing but links into it, and is hardly larger.
func finalProblems(c containertest.Contents, closure map[string]int64) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var narSize int64
	for _, p := range slices.Sorted(maps.Keys(closure)) {
		narSize += closure[p]
		if _, ok := c.Find(p); !ok {
			problem("%s is missing", p)
		}
	}
	for _, f := range c.Files {
		switch {
		case strings.HasPrefix(f.Path, "/nix/store/"):
			if _, ok := closure[f.Path]; !ok && strings.Count(f.Path, "/") == 3 {
				problem("%s is not needed", f.Path)
			}
		case f.Path == "/run/profile" && f.Target == "../nix/profile":
		case f.Mode.Type() == fs.ModeSymlink && strings.HasPrefix(f.Path, "/nix/profile/"):
			if _, ok := c.Find(f.Target); !ok || !strings.HasPrefix(f.Target, "/nix/store/") {
				problem("%s leads to %s", f.Path, f.Target)
			}
		case f.Mode.IsDir() && (slices.Contains([]string{"/nix", "/nix/store", "/run", "/nix/profile"}, f.Path) || strings.HasPrefix(f.Path, "/nix/profile/")):
		case ofBuilder(f):
		default:
			problem("%s has no business here", f.Path)
		}
	}
	if c.Size > narSize*110/100 || c.Size < narSize/2 {
		problem("%d bytes, where the closure has %d", c.Size, narSize)
	}
	return problems
}

func TestFinalProblems(t *testing.T) {
	closure := map[string]int64{"/nix/store/a": 60, "/nix/store/b": 40}
	good := []containertest.File{
		{Path: "/etc", Mode: fs.ModeDir}, {Path: "/etc/hosts"}, {Path: "/nix", Mode: fs.ModeDir}, {Path: "/nix/store", Mode: fs.ModeDir},
		{Path: "/nix/store/a", Mode: fs.ModeDir}, {Path: "/nix/store/a/f"}, {Path: "/nix/store/b"},
		{Path: "/run", Mode: fs.ModeDir}, {Path: "/nix/profile", Mode: fs.ModeDir}, {Path: "/nix/profile/f", Mode: fs.ModeSymlink, Target: "/nix/store/a/f"},
	}
	for _, tt := range []struct {
		name    string
		without string             // path of one of these
		with    containertest.File // besides
		size    int64
		want    []string
	}{
		{"good", "", containertest.File{Path: "/sys", Mode: fs.ModeDir}, 110, nil},
		{"too large", "", containertest.File{Path: "/sys", Mode: fs.ModeDir}, 111, []string{"111 bytes, where the closure has 100"}},
		{"not measured", "", containertest.File{Path: "/sys", Mode: fs.ModeDir}, 0, []string{"0 bytes, where the closure has 100"}},
		{"a store path too many", "", containertest.File{Path: "/nix/store/c"}, 100, []string{"/nix/store/c is not needed"}},
		{"another store path", "/nix/store/b", containertest.File{Path: "/nix/store/c"}, 100, []string{"/nix/store/b is missing", "/nix/store/c is not needed"}},
		{"the database", "", containertest.File{Path: "/nix/var", Mode: fs.ModeDir}, 100, []string{"/nix/var has no business here"}},
		{"a link that leads nowhere", "/nix/store/a/f", containertest.File{Path: "/sys", Mode: fs.ModeDir}, 100, []string{"/nix/profile/f leads to /nix/store/a/f"}},
		{"a copy", "", containertest.File{Path: "/nix/profile/g"}, 100, []string{"/nix/profile/g has no business here"}},
		{"a user's file", "", containertest.File{Path: "/etc/passwd"}, 100, []string{"/etc/passwd has no business here"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := slices.DeleteFunc(slices.Clone(good), func(f containertest.File) bool { return f.Path == tt.without })
			files = append(files, tt.with)
			slices.SortFunc(files, func(a, b containertest.File) int { return strings.Compare(a.Path, b.Path) })
			got := finalProblems(containertest.Contents{Files: files, Size: tt.size}, closure)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("finalProblems() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfBuilder(t *testing.T) {
	for _, tt := range []struct {
		file containertest.File
		want bool
	}{
		{containertest.File{Path: "/etc/hosts"}, true},
		{containertest.File{Path: "/etc/hosts", Size: 1}, false},
		{containertest.File{Path: "/etc/passwd"}, false},
		{containertest.File{Path: "/dev/shm", Mode: fs.ModeDir}, true},
		{containertest.File{Path: "/dev/null", Mode: fs.ModeDevice}, false},
		{containertest.File{Path: "/sys"}, false},
		{containertest.File{Path: "/root", Mode: fs.ModeDir}, false},
	} {
		if got := ofBuilder(tt.file); got != tt.want {
			t.Errorf("ofBuilder(%+v) = %v, want %v", tt.file, got, tt.want)
		}
	}
}
