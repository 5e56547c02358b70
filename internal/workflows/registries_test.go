package workflows

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// TestRegistries runs the script that decides where a fork publishes to.
func TestRegistries(t *testing.T) {
	const hub = "https://index.docker.io/v1/"
	job := map[string]string{"ghcr.io": "ann:job"}
	with := func(more map[string]string) map[string]string {
		logins := maps.Clone(job)
		maps.Copy(logins, more)
		return logins
	}
	cases := map[string]struct {
		env     map[string]string
		publish string
		logins  map[string]string
		failure string
	}{
		"nothing is set": {nil, "ghcr.io/some-org", job, ""},
		"Docker Hub": {
			map[string]string{"DOCKERHUB_USERNAME": "Ann", "DOCKERHUB_TOKEN": `p"$\ w`},
			"ghcr.io/some-org docker.io/ann", with(map[string]string{hub: `Ann:p"$\ w`}), "",
		},
		"an organisation on Docker Hub": {
			map[string]string{"DOCKERHUB_USERNAME": "ann", "DOCKERHUB_TOKEN": "t", "DOCKERHUB_NAMESPACE": "Org"},
			"ghcr.io/some-org docker.io/org", with(map[string]string{hub: "ann:t"}), "",
		},
		"another registry": {
			map[string]string{"REGISTRY": "registry.example.org:5000/a/b", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p"},
			"ghcr.io/some-org registry.example.org:5000/a/b", with(map[string]string{"registry.example.org:5000": "bob:p"}), "",
		},
		"one without encryption": {
			map[string]string{"REGISTRY": "http://registry:5000/a", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p"},
			"ghcr.io/some-org http://registry:5000/a", with(map[string]string{"registry:5000": "bob:p"}), "",
		},
		"that one alone": {
			map[string]string{"REGISTRY": "quay.io/org", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p", "PUBLISH": " quay.io/org "},
			"quay.io/org", with(map[string]string{"quay.io": "bob:p"}), "",
		},
		"several by hand":  {map[string]string{"PUBLISH": "ghcr.io/a ghcr.io/b"}, "ghcr.io/a ghcr.io/b", job, ""},
		"half of a login":  {map[string]string{"DOCKERHUB_TOKEN": "hush"}, "", nil, "DOCKERHUB_USERNAME and DOCKERHUB_TOKEN go together"},
		"half of another":  {map[string]string{"REGISTRY": "quay.io/org", "REGISTRY_USER": "bob"}, "", nil, "REGISTRY_USER and REGISTRY_PASSWORD go together"},
		"a login to where": {map[string]string{"REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "hush"}, "", nil, "but not the variable REGISTRY"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			exported := filepath.Join(dir, "env")
			cmd := exec.Command("bash", githubDir+"/registries")
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "RUNNER_TEMP=" + dir, "GITHUB_ENV=" + exported, "OWNER=Some-Org", "ACTOR=ann", "TOKEN=job"}
			for k, v := range c.env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "hush") {
				t.Errorf("a secret was printed: %s", out)
			}
			if c.failure != "" {
				if err == nil || !strings.Contains(string(out), "::error::") || !strings.Contains(string(out), c.failure) {
					t.Errorf("%v, %s, want a failure with %q", err, out, c.failure)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := "DOCKER_CONFIG=" + dir + "/docker\nFACTORY_PUBLISH=" + c.publish + "\n"
			if diff := cmp.Diff(want, string(readFile(t, exported))); diff != "" {
				t.Errorf("environment mismatch (-want +got):\n%s", diff)
			}
			for _, to := range strings.Fields(c.publish) {
				if _, err := config.ParseDestination(to, "."); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(c.logins, logins(t, filepath.Join(dir, "docker/config.json"))); diff != "" {
				t.Errorf("logins mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

// logins reads user:password by host from a Docker configuration.
func logins(t *testing.T, file string) map[string]string {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has the mode %v, want it for its owner only", file, info.Mode())
	}
	var conf struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(readFile(t, file), &conf); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for host, login := range conf.Auths {
		text, err := base64.StdEncoding.DecodeString(login.Auth)
		if err != nil {
			t.Fatal(err)
		}
		all[host] = string(text)
	}
	return all
}
