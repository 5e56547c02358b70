package workflows

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

const pushExamples = examples + "/push"

// Workflows that use the action give it nothing but its inputs, and all it requires.
func TestWorkflowsThatPush(t *testing.T) {
	a := readAction(t, imageAction)
	for _, name := range []string{"github-workflow.yml", "forgejo-workflow.yml"} {
		file := pushExamples + "/" + name
		w := readWorkflow(t, file)
		// The linter does not know that Forgejo takes actions by URL.
		text := strings.ReplaceAll(string(readFile(t, file)), "uses: https://github.com/", "uses: ")
		copied := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		lint(t, copied, "self-hosted-runner:\n  labels: [nix]\n")
		used := 0
		for _, j := range w.Jobs {
			for _, s := range j.Steps {
				if !strings.Contains(s.Uses, "/.github/actions/build-nix-image@") {
					if !pinnedAction.MatchString(s.Uses+" # v1.0.0") || s.With["persist-credentials"] == "" && strings.Contains(s.Uses, "checkout") {
						t.Errorf("%s: %s is not pinned, or leaves a token", name, s.Uses)
					}
					continue
				}
				used++
				for input := range s.With {
					if _, ok := a.Inputs[input]; !ok {
						t.Errorf("%s: job %s: the action has no input %s", name, j.ID, input)
					}
				}
				for input, i := range a.Inputs {
					if i.Required && s.With[input] == "" {
						t.Errorf("%s: job %s: the action wants %s", name, j.ID, input)
					}
				}
				if s.Env["ATTIC_TOKEN"] != "${{ secrets.ATTIC_TOKEN }}" {
					t.Errorf("%s: job %s: ATTIC_TOKEN is %q", name, j.ID, s.Env["ATTIC_TOKEN"])
				}
			}
		}
		if used != len(w.Jobs) {
			t.Errorf("%s: %d of %d jobs use the action", name, used, len(w.Jobs))
		}
	}
}

// The job of GitLab is run: with a registry, and with what it installs found.
func TestGitLabJobThatPushes(t *testing.T) {
	t.Parallel()
	file := pushExamples + "/gitlab-ci.yml"
	var all map[string]struct {
		Image, Timeout string
		Variables      map[string]string
		Script         []string
	}
	strictly(t, file, readFile(t, file), &all)
	job := all["build"]
	if !regexp.MustCompile(`^nixos/nix:\d`).MatchString(job.Image) || job.Timeout == "" {
		t.Errorf("the job runs in %q, for %q", job.Image, job.Timeout)
	}
	if commit := job.Variables["NIXPKGS_COMMIT"]; !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(commit) || !strings.Contains(job.Variables["NIX_PATH"], "$NIXPKGS_COMMIT") {
		t.Errorf("nixpkgs is not pinned: %q", commit)
	}
	checkScript(t, "sh", strings.Join(job.Script, "\n"))
	if got, want := job.Script[0], `nix-shell --packages go --run "go install $FACTORY"`; got != want {
		t.Errorf("the factory is installed by %q, want %q", got, want)
	}

	dir, prefix, env := project(t, projectFlake)
	registry := registrytest.Start(t, registrytest.Options{Htpasswd: "ann:$2b$05$abcdefghijklmnopqrstuur.ZxEKly2fYX6K.hrvYXsoEaKgtr95a"})
	if err := os.WriteFile(filepath.Join(dir, "default.nix"), readFile(t, pushExamples+"/default.nix"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	script := strings.ReplaceAll(job.Script[len(job.Script)-1], "/usr/local/bin/factory", compile(t))
	argv := append(prefix, "sh", "-ec", script)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	gitlab := map[string]string{"CI_REGISTRY": registry, "CI_REGISTRY_USER": "ann", "CI_REGISTRY_PASSWORD": "pa55word", "NIXPKGS_COMMIT": job.Variables["NIXPKGS_COMMIT"]}
	for name, value := range job.Variables {
		if name != "NIX_PATH" { // which is the miniature nixpkgs
			cmd.Env = append(cmd.Env, name+"="+os.Expand(value, func(v string) string { return gitlab[v] }))
		}
	}
	cmd.Env = append(cmd.Env, "CI_REGISTRY_IMAGE=http://"+registry+"/group/tools")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tags, err := exec.Command("skopeo", "list-tags", "--tls-verify=false", "--creds=ann:pa55word", "docker://"+registry+"/group/tools").Output()
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`"([0-9a-f]{12}|latest)"`).FindAllString(string(tags), -1); len(found) != 3 {
		t.Errorf("tags %s, want latest, one of the content and one of the commit\n%s", tags, out)
	}
}

// nix2containerFlake stands for the project's own.
const nix2containerFlake = `{
  inputs.nixpkgs.url = "path:/nowhere";
  outputs = { self, nixpkgs }: { packages.x86_64-linux.nix2container = nixpkgs.legacyPackages.x86_64-linux.nix2container; };
}
`

// All images of the example's flake are built and pushed, and run the same program.
func TestFlakeThatPushes(t *testing.T) {
	t.Parallel()
	dir, prefix, env := project(t, string(readFile(t, pushExamples+"/flake/flake.nix")))
	registry := registrytest.Start(t, registrytest.Options{})
	n2c := t.TempDir()
	if err := os.WriteFile(filepath.Join(n2c, "flake.nix"), []byte(nix2containerFlake), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := ""
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "NIX_PATH=nixpkgs="); ok {
			tree = value
		}
	}
	run := func(args ...string) string {
		t.Helper()
		argv := append(append([]string{}, prefix...), args...)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = dir, append(env, "PATH="+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	// The lock file is where inputs are found without a network.
	run("nix", "--extra-experimental-features", "nix-command flakes", "flake", "lock", "--override-input", "nixpkgs", "path:"+tree, "--override-input", "nix2container", "path:"+n2c)
	engines := containertest.Engines(t)
	for _, output := range []string{"dojo-image", "dojo-stream", "dojo-n2c"} {
		ref := registry + "/toph/" + output + ":main"
		run(compile(t), "push", ".#"+output, "--to", "http://"+ref)
		config, err := exec.Command("skopeo", "inspect", "--config", "--tls-verify=false", "docker://"+ref).Output()
		program := regexp.MustCompile(`"Cmd": ?\[\s*"(/nix/store/[^"]*-dojo/bin/dojo)"`).FindSubmatch(config)
		if err != nil || program == nil {
			t.Errorf("%s: configuration %s, error %v", output, config, err)
			continue
		}
		for _, engine := range engines {
			said := engine.Run(t, engine.Pull(t, ref), containertest.Options{}, containertest.Command{Args: []string{string(program[1])}})
			if said.Code != 0 || said.Stdout != "Hello, world!\n" {
				t.Errorf("%s in %s: exit code %d, %q, %q", output, engine, said.Code, said.Stdout, said.Stderr)
			}
		}
	}
}

// The script hands on what Bazel and buildx leave.
func TestBazelAndDockerfile(t *testing.T) {
	checkScript(t, "bash", string(readFile(t, pushExamples+"/bazel-and-dockerfile.sh")))
	tell := `echo "$(basename "$0") $*" >&2; if [ "$2" = - ]; then cat >&2; fi` + "\n"
	bin := stub(t, map[string]string{"bazel": tell, "factory": tell, "docker": tell + "echo archive\n"})
	for kind, want := range map[string]string{
		"bazel":  "bazel build //app:image\nfactory push oci:bazel-bin/app/image --to ghcr.io/org/app:1\n",
		"buildx": "factory push - --to ghcr.io/org/app:1\narchive\n",
	} {
		cmd := exec.Command(pushExamples+"/bazel-and-dockerfile.sh", kind, "ghcr.io/org/app:1")
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		got := regexp.MustCompile(`(?m)^docker buildx .*\n`).ReplaceAllString(string(out), "") // at the same time as factory
		if err != nil || got != want {
			t.Errorf("%s: %q, error %v, want %q", kind, got, err, want)
		}
	}
}
