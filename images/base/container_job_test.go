package base_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// testJob starts the image as GitHub's runner starts a job container: the
// workspace and HOME are folders of the runner's user, mounted; programs of the
// runner, made for another Linux, are mounted too; each step is a command in
// the container that goes on.
func (in inside) testJob(t *testing.T) {
	work := workspace(t)
	o := in.online()
	o.Env = append(o.Env, "HOME=/github/home", "GITHUB_ACTIONS=true", "CI=true")
	o.Mounts = append(foreignPrograms(t, "/__e/node20/bin"),
		containertest.Mount{Source: work, Target: "/__w"},
		containertest.Mount{Source: filepath.Join(work, "_temp/_github_home"), Target: "/github/home"},
	)
	c := in.engine.Start(t, in.image, o)
	step := containertest.Command{WorkDir: "/__w/repo/repo"}

	runChecks(t, c, containertest.Command{WorkDir: "/__w/repo"}, []check{
		{name: "which Linux", script: `cat /etc/*release | grep ^ID`, want: "ID=nixpkgs\nID_LIKE=nixos"},
		{name: "the owners are others", script: `id -u; test ! -O "$HOME" && test ! -O /__w/repo/repo && echo others`, want: "0\nothers"},
		{
			name:   "programs for the usual loader",
			script: `/__e/node20/bin/hello; /__e/node20/bin/patchelf --version | cut -d' ' -f1`,
			want:   "Hello, world!\npatchelf",
		},
		{
			name:   "they leave no trace in others",
			script: `sh -c 'echo "${LD_LIBRARY_PATH-unset}"'; git --version | cut -d' ' -f1`,
			want:   "unset\ngit",
		},
		{name: "tools of the runner's own steps", script: `command -v bash sh tar gzip git cat tail | wc -l`, want: "7"},
	})
	runChecks(t, c, step, []check{
		{name: "git status", script: `git status --porcelain; git log --format=%s`, want: "a commit"},
		{name: "install", script: `nix-env -f . -iA myEnv; hello`, want: "Hello, world!"},
		{
			name:   "it is in the profile that is on the search path",
			script: `command -v hello; readlink -f /nix/var/nix/profiles/default/bin/hello | cut -d/ -f5-`,
			want:   "/root/.nix-profile/bin/hello\nbin/hello",
		},
	})
	// The next step, by the shell that the runner has for shell: bash.
	step.Args = []string{"bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "/__w/_temp/step.sh"}
	if r := c.Exec(t, step); r.Code != 0 || r.Stdout != "Hello, world!\nHello, world!\n" {
		t.Errorf("step.sh: %+v", r)
	}
	runChecks(t, c, containertest.Command{WorkDir: "/__w/repo/repo"}, []check{
		{name: "install by attribute", script: `nix-env -iA nixpkgs.jq; command -v jq`, want: "/root/.nix-profile/bin/jq"},
		{name: "with a HOME that is not there", script: `HOME=/nowhere/home nix-env -iA nixpkgs.jq; HOME=/nowhere/home2 nix-env -qaP jq`, like: `^nixpkgs\.jq +jq-`},
	})
	if _, err := os.Stat(filepath.Join(work, "repo/repo/dist/nix/store")); err != nil {
		t.Errorf("what the step has made: %v", err)
	}
}

// workspace is the folder that a runner has for a job, with a repository.
func workspace(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	repo := filepath.Join(dir, "repo/repo")
	for _, d := range []string{repo, filepath.Join(dir, "_temp/_github_home")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"repo/repo/default.nix": myEnv,
		"_temp/step.sh":         "hello\nexport-profile dist\nchroot dist /nix/profile/bin/hello\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=b", "commit", "--quiet", "--message=a commit"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-R", "1001:1001", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	return dir
}
