package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// TestLogin makes logins and destinations out of what a fork has set.
func TestLogin(t *testing.T) {
	job := map[string]string{"ghcr.io": "ann:job"}
	with := func(host, login string) map[string]string {
		logins := maps.Clone(job)
		logins[host] = login
		return logins
	}
	for name, test := range map[string]struct {
		env     map[string]string
		publish string
		logins  map[string]string
		failure string
	}{
		"nothing is set": {nil, "ghcr.io/some-org", job, ""},
		"Docker Hub": {
			map[string]string{"DOCKERHUB_USERNAME": "Ann", "DOCKERHUB_TOKEN": `p"$\ w`},
			"ghcr.io/some-org docker.io/ann", with(authn.DefaultAuthKey, `Ann:p"$\ w`), "",
		},
		"an organisation on Docker Hub": {
			map[string]string{"DOCKERHUB_USERNAME": "ann", "DOCKERHUB_TOKEN": "t", "DOCKERHUB_NAMESPACE": "Org"},
			"ghcr.io/some-org docker.io/org", with(authn.DefaultAuthKey, "ann:t"), "",
		},
		"another registry": {
			map[string]string{"REGISTRY": "registry.example.org:5000/a/b", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p"},
			"ghcr.io/some-org registry.example.org:5000/a/b", with("registry.example.org:5000", "bob:p"), "",
		},
		"one without encryption": {
			map[string]string{"REGISTRY": "http://registry:5000/a", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p"},
			"ghcr.io/some-org http://registry:5000/a", with("registry:5000", "bob:p"), "",
		},
		"that one alone": {
			map[string]string{"REGISTRY": "quay.io/org", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "p", "FACTORY_PUBLISH": " quay.io/org "},
			"quay.io/org", with("quay.io", "bob:p"), "",
		},
		"several by hand":   {map[string]string{"FACTORY_PUBLISH": "ghcr.io/a ghcr.io/b"}, "ghcr.io/a ghcr.io/b", job, ""},
		"half of a login":   {map[string]string{"DOCKERHUB_TOKEN": "hush"}, "", nil, "DOCKERHUB_USERNAME and DOCKERHUB_TOKEN go together"},
		"half of another":   {map[string]string{"REGISTRY": "quay.io/org", "REGISTRY_USER": "bob"}, "", nil, "REGISTRY_USER and REGISTRY_PASSWORD go together"},
		"a login to where":  {map[string]string{"REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "hush"}, "", nil, "are set, but not REGISTRY (HOST[:PORT]/PATH)"},
		"a login to what":   {map[string]string{"REGISTRY": "https://quay.io/org", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "hush"}, "", nil, "REGISTRY: bad destination"},
		"a folder's login":  {map[string]string{"REGISTRY": "oci:dir", "REGISTRY_USER": "bob", "REGISTRY_PASSWORD": "hush"}, "", nil, "a folder has no logins"},
		"wrong by hand":     {map[string]string{"FACTORY_PUBLISH": "ghcr.io/a ftp://x/y"}, "", nil, `bad destination "ftp://x/y"`},
		"no job":            {map[string]string{"RUNNER_TEMP": ""}, "", nil, "RUNNER_TEMP is not set: this is for jobs of GitHub Actions"},
		"a job in no token": {map[string]string{"GITHUB_TOKEN": ""}, "", nil, "GITHUB_TOKEN is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			exported := filepath.Join(dir, "env")
			env := map[string]string{"RUNNER_TEMP": dir, "GITHUB_ENV": exported, "GITHUB_REPOSITORY_OWNER": "Some-Org", "GITHUB_ACTOR": "ann", "GITHUB_TOKEN": "job"}
			maps.Copy(env, test.env)
			var stdout bytes.Buffer
			err := (&app{stdout: &stdout, env: func(name string) string { return env[name] }}).login()
			if test.failure != "" {
				if _, usage := err.(usageError); !usage || !strings.Contains(err.Error(), test.failure) || strings.Contains(err.Error(), "hush") {
					t.Errorf("login() = %v, want a usage error with %q and no secret", err, test.failure)
				}
				if _, err := os.Stat(exported); err == nil || stdout.Len() > 0 {
					t.Errorf("a failure has left something behind, or said %q", &stdout)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(exported)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("DOCKER_CONFIG="+dir+"/docker\nFACTORY_PUBLISH="+test.publish+"\n", string(data)); diff != "" {
				t.Errorf("environment mismatch (-want +got):\n%s", diff)
			}
			logins, masked := dockerConfiguration(t, filepath.Join(dir, "docker"))
			if diff := cmp.Diff(test.logins, logins); diff != "" {
				t.Errorf("logins mismatch (-want +got):\n%s", diff)
			}
			said := stdout.String()
			for _, text := range masked {
				var masks int
				if said, masks = cut(said, "::add-mask::"+text+"\n"); masks != 1 || strings.Contains(said, text) {
					t.Errorf("a login is masked %d times in %q", masks, &stdout)
				}
			}
			for _, to := range strings.Fields(test.publish) {
				if _, err := config.ParseDestination(to, "."); err != nil || !strings.Contains(said, "publishing to "+to+"\n") {
					t.Errorf("%s: %v, or not said in %q", to, err, said)
				}
			}
		})
	}
}

func cut(s, part string) (rest string, times int) {
	return strings.ReplaceAll(s, part, ""), strings.Count(s, part)
}

// dockerConfiguration reads user:password by host, as Docker does, and the texts
// in which the file has them.
func dockerConfiguration(t *testing.T, dir string) (logins map[string]string, texts []string) {
	t.Helper()
	for name, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "config.json"): 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, want it for its owner only", name, info.Mode())
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var written struct {
		Auths map[string]struct{ Auth string }
	}
	var read struct{ Auths map[string]authn.AuthConfig }
	if err := json.Unmarshal(data, &written); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	logins = make(map[string]string)
	for host, login := range read.Auths {
		logins[host] = login.Username + ":" + login.Password
		texts = append(texts, written.Auths[host].Auth)
	}
	return logins, texts
}
