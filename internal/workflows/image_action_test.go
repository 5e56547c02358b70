package workflows

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

const imageAction = githubDir + "/actions/build-nix-image/action.yml"

// composite is an action that is made of steps.
type composite struct {
	Name        string
	Description string
	Inputs      map[string]struct {
		Description string
		Required    bool
		Default     string
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []step
	}
}

func readAction(t *testing.T, file string) composite {
	t.Helper()
	var a composite
	strictly(t, file, readFile(t, file), &a)
	return a
}

func TestImageActionIsSound(t *testing.T) {
	a := readAction(t, imageAction)
	w := workflow{Jobs: jobs{{ID: "action", Steps: slices.Clone(a.Runs.Steps)}}}
	for _, problem := range append(pinned(string(readFile(t, imageAction)), w), noInjectionBut("bash")("", w)...) {
		t.Error(problem)
	}
	for _, s := range a.Runs.Steps {
		if s.Shell != "bash" {
			t.Errorf("step %s has the shell %q, want bash", s.title(), s.Shell)
		}
		checkScript(t, "bash", s.Run)
	}
	type input struct {
		Required bool
		Default  string
	}
	inputs := map[string]input{}
	for name, i := range a.Inputs {
		inputs[name] = input{i.Required, i.Default}
		if i.Description == "" {
			t.Errorf("the input %s is not described", name)
		}
	}
	want := map[string]input{
		"flake-output": {Required: true}, "image-name": {Required: true}, "registry-password": {Required: true},
		"image-tag": {Default: "main"}, "registry": {}, "registry-username": {Default: "${{ github.actor }}"}, "platforms": {},
		"cache-name": {Default: "ci"}, "attic-endpoint": {},
	}
	if diff := cmp.Diff(want, inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if got := slices.Sorted(maps.Keys(a.Outputs)); !slices.Equal(got, []string{"digest", "image"}) || a.Runs.Using != "composite" {
		t.Errorf("a %s action with the outputs %v", a.Runs.Using, got)
	}
}

// actionRun is what an action runs with.
type actionRun struct {
	server string            // that runs it
	with   map[string]string // inputs
	dir    string            // the workspace
	prefix []string          // before its shell
	env    []string
}

// do runs the steps of an action, and returns its outputs and what it says.
func (r actionRun) do(t *testing.T, a composite) (outputs map[string]string, log string, err error) {
	t.Helper()
	sources, err := filepath.Abs(filepath.Dir(imageAction))
	if err != nil {
		t.Fatal(err)
	}
	values := values{"github.actor": "ann", "github.server_url": r.server, "github.action_path": sources}
	for name, i := range a.Inputs {
		value, given := r.with[name]
		if !given {
			value = values.fill(t, i.Default)
		}
		values["inputs."+name] = value
	}
	temp := t.TempDir()
	for _, st := range a.Runs.Steps {
		files := map[string]string{"GITHUB_OUTPUT": filepath.Join(temp, "output"), "GITHUB_PATH": filepath.Join(temp, "path"), "script": filepath.Join(temp, "script.sh")}
		for name, file := range files {
			if err := os.WriteFile(file, map[bool][]byte{true: []byte(st.Run)}[name == "script"], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		argv := append(slices.Clone(r.prefix), "bash", "--noprofile", "--norc", "-eo", "pipefail", files["script"])
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = r.dir
		cmd.Env = append(slices.Clone(r.env), "GITHUB_ACTIONS=true", "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+files["GITHUB_OUTPUT"], "GITHUB_PATH="+files["GITHUB_PATH"])
		for name, template := range st.Env {
			cmd.Env = append(cmd.Env, name+"="+values.fill(t, template))
		}
		out, err := cmd.CombinedOutput()
		log += string(out)
		if err != nil {
			return nil, log, err
		}
		if added := strings.TrimSpace(string(readFile(t, files["GITHUB_PATH"]))); added != "" {
			r.env = append(r.env, "PATH="+added+":"+pathOf(r.env))
		}
		for line := range strings.Lines(string(readFile(t, files["GITHUB_OUTPUT"]))) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if !ok || strings.ContainsAny(name, " <") {
				t.Fatalf("step %s: the output %q is not name=value", st.title(), line)
			}
			values["steps."+st.ID+".outputs."+name] = value
		}
	}
	outputs = map[string]string{}
	for name, o := range a.Outputs {
		outputs[name] = values.fill(t, o.Value)
	}
	return outputs, log, nil
}

// values are what the expressions of an action stand for, which are names only.
type values map[string]string

var expression = regexp.MustCompile(`\$\{\{ *(.*?) *\}\}`)

// fill puts values in the place of expressions.
func (v values) fill(t *testing.T, template string) string {
	t.Helper()
	return expression.ReplaceAllStringFunc(template, func(text string) string {
		name := expression.FindStringSubmatch(text)[1]
		value, ok := v[name]
		if !ok && !strings.HasPrefix(name, "steps.") { // a step need not set its outputs
			t.Fatalf("nothing here is called %q", name)
		}
		return value
	})
}

// pathOf is the PATH of an environment.
func pathOf(env []string) (path string) {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	return path
}

// TestImageActionDefaults: the server that runs the action decides what is not said.
func TestImageActionDefaults(t *testing.T) {
	a := readAction(t, imageAction)
	factory := stub(t, map[string]string{"factory": `printf '%s\n' "$@" "$REGISTRY_HOST $REGISTRY_USER $REGISTRY_PASSWORD"`})
	for name, c := range map[string]struct {
		server string
		with   map[string]string
		want   string
	}{
		"GitHub": {
			"https://github.com", map[string]string{"flake-output": ".#dojo-image", "image-name": "Toph/dojo", "registry-password": "p"},
			"push flake:.#dojo-image --to ghcr.io/toph/dojo:main ghcr.io ann p",
		},
		"GitHub with a cache": {
			"https://github.com", map[string]string{"flake-output": ".#x", "image-name": "a/b", "registry-password": "p", "attic-endpoint": "https://attic.example.org"},
			"push flake:.#x --to ghcr.io/a/b:main --attic https://attic.example.org/ci ghcr.io ann p",
		},
		"Forgejo or Gitea": {
			"https://git.toph.so", map[string]string{"flake-output": ".#agent-image", "image-name": "toph/dojo/agent", "registry-password": "p"},
			"push flake:.#agent-image --to git.toph.so/toph/dojo/agent:main --attic https://cache.toph.so/ci git.toph.so ann p",
		},
		"another server": {
			"http://code.example.org:3000", map[string]string{"flake-output": ".#x", "image-name": "a/b", "registry-password": "p", "registry-username": "bob"},
			"push flake:.#x --to code.example.org:3000/a/b:main code.example.org:3000 bob p",
		},
		"everything said": {
			"https://git.toph.so", map[string]string{
				"flake-output": ".#amd64\n.#arm64\n", "image-name": "a/b", "registry-password": "p q", "registry": "http://127.0.0.1:5000", "image-tag": "1.2 {rev:12}\nlatest",
				"platforms": "linux/amd64, linux/arm64", "attic-endpoint": "https://c", "cache-name": "mine",
			},
			"push flake:.#amd64 flake:.#arm64 --to http://127.0.0.1:5000/a/b:1.2 --tag {rev:12} --tag latest --platform linux/amd64 --platform linux/arm64 --attic https://c/mine 127.0.0.1:5000 ann p q",
		},
	} {
		_, log, err := actionRun{server: c.server, with: c.with, dir: t.TempDir(), env: []string{"PATH=" + factory + ":" + os.Getenv("PATH")}}.do(t, a)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, log)
		}
		_, got, _ := strings.Cut(log, "\n") // where the factory was found
		if got = strings.ReplaceAll(strings.TrimSpace(got), "\n", " "); got != c.want {
			t.Errorf("%s: factory is run as\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

const projectFlake = `{
  inputs.nixpkgs.url = "path:TREE";
  outputs = { self, nixpkgs }: let pkgs = nixpkgs.legacyPackages.x86_64-linux; in {
    packages.x86_64-linux.dojo-image = pkgs.dockerTools.buildLayeredImage {
      name = "dojo";
      contents = [ pkgs.hello ];
      config.Cmd = [ "/bin/hello" ];
    };
  };
}
`

// project is a folder with a flake, and how to run something beside it that has a
// Nix store of its own.
func project(t *testing.T, flake string) (dir string, prefix, env []string) {
	t.Helper()
	fixture, err := standin.Prepare(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, dir, tree := t.TempDir(), t.TempDir(), t.TempDir()
	t.Cleanup(func() { standin.RemovePrivateNix(store) })
	if prefix, env, err = fixture.PrivateNix(store); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "xf", fixture.ArchiveFile(fixture.Commit("next").Rev), "-C", tree, "--strip-components=1", "--exclude=pkgs/test").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "flake.nix"), []byte(strings.ReplaceAll(flake, "TREE", tree)), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, prefix, append(env, "NIX_PATH=nixpkgs="+tree)
}

// TestImageAction runs the action: with a real Nix, registry and Attic server, and
// with the factory compiled as on a machine that has none.
func TestImageAction(t *testing.T) {
	t.Parallel()
	dir, prefix, env := project(t, projectFlake)
	registry := registrytest.Start(t, registrytest.Options{Htpasswd: "ann:$2b$05$abcdefghijklmnopqrstuur.ZxEKly2fYX6K.hrvYXsoEaKgtr95a"})
	attic, err := attictest.Start(attictest.Options{Cache: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(attic.Close)

	// Nix is to have Go compile the factory: here it is the Go of the machine.
	nixProgram, err := exec.LookPath("nix")
	if err != nil {
		t.Fatal(err)
	}
	bin := stub(t, map[string]string{"nix": `case "$*" in *" shell nixpkgs#go --command "*) while [ "$1" != --command ]; do shift; done; shift; exec "$@" ;; esac; exec ` + nixProgram + ` "$@"`})
	for _, name := range []string{"nix-instantiate", "nix-store"} {
		if err := os.Symlink(filepath.Join(filepath.Dir(nixProgram), name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	goEnv, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		t.Fatal(err)
	}
	var caches map[string]string
	if err := json.Unmarshal(goEnv, &caches); err != nil {
		t.Fatal(err)
	}
	for name, value := range caches {
		env = append(env, name+"="+value)
	}
	run := actionRun{
		server: "https://git.example.org", dir: dir, prefix: prefix,
		env: append(env, "PATH="+bin+":"+os.Getenv("PATH"), "ATTIC_TOKEN="+attic.Token("*", attictest.Pull, attictest.Push)),
		with: map[string]string{
			"flake-output": ".#dojo-image", "image-name": "toph/dojo", "registry": "http://" + registry, "registry-password": "pa55word",
			"attic-endpoint": attic.URL(), "image-tag": "main {digest:12}",
		},
	}
	outputs, log, err := run.do(t, readAction(t, imageAction))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(outputs["digest"]) || outputs["image"] != registry+"/toph/dojo@"+outputs["digest"] {
		t.Errorf("outputs %v\n%s", outputs, log)
	}
	for _, object := range []string{"-hello-", "-dojo.tar.gz"} {
		has := slices.ContainsFunc(attic.Objects(), func(o nix.PathInfo) bool { return strings.Contains(o.Path.String(), object) })
		if has != (object == "-hello-") {
			t.Errorf("the cache has %s: %v", object, has)
		}
	}
	config, err := exec.Command("skopeo", "inspect", "--config", "--tls-verify=false", "--creds=ann:pa55word", "docker://"+registry+"/toph/dojo:main").Output()
	if err != nil || !strings.Contains(string(config), "/bin/hello") {
		t.Errorf("configuration of the image: %s, error %v", config, err)
	}
	for _, secret := range []string{"pa55word", "eyJ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %s:\n%s", secret, log)
		}
	}

	run.with["registry-password"] = "wrong"
	_, log, err = run.do(t, readAction(t, imageAction))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("with a wrong password: %v\n%s", err, log)
	}
}
