package realise

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A machine that has no namespaces for a sandbox builds nothing, for a builder
// of the tree's could read everything. Nix is asked for real, with a /nix of the
// test's own.
func TestNoBuildWithoutSandbox(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	expression := `derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "while read -r line; do echo $line; done < ` + secret + ` > $out" ]; }`
	for name, text := range map[string]string{secret: "not for builders\n", filepath.Join(dir, "x.nix"): expression} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"nix/store", "nix/var", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", filepath.Join(dir, "nix")).Run() })
	private, err := filepath.Abs("../standin/build/private-nix.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NIX_CONFIG", "build-users-group =\nfsync-metadata = false")
	build := func(options ...string) (string, string) {
		script := `echo 0 > /proc/sys/user/max_user_namespaces
			setpriv --bounding-set=-all --inh-caps=-all nix-build --no-out-link "$@" ` + dir + `/x.nix > ` + dir + `/out
			cat $(cat ` + dir + `/out)`
		cmd := exec.Command("unshare", append([]string{"--user", "--map-root-user", "--mount", "--propagation", "private",
			"sh", private, filepath.Join(dir, "root"), filepath.Join(dir, "nix"), "sh", "-ec", script, "sh"}, options...)...)
		cmd.Env = append(os.Environ(), "NIX_REMOTE=", "HOME="+dir, "NIX_CONF_DIR="+dir)
		var messages strings.Builder
		cmd.Stderr = &messages
		out, _ := cmd.Output()
		return string(out), messages.String()
	}
	if out, messages := build(Store{}.options()...); out != "" || !noSandbox.MatchString(messages) {
		t.Errorf("built without a sandbox: %q\n%s", out, messages)
	}
	if out, messages := build(); out != "not for builders\n" {
		t.Errorf("Nix by itself reads %q: this shows nothing\n%s", out, messages)
	}
}

func TestSandboxOption(t *testing.T) {
	for config, want := range map[string]bool{
		"":                                   true,
		"sandbox = false":                    false,
		"cores = 1\n  sandbox=false\n":       false,
		"build-use-sandbox = false":          false,
		"sandbox-fallback = true":            true,
		"# sandbox = false":                  true,
		"extra-sandbox-paths = /bin/sh=/x":   true,
		"access-tokens = a=sandbox = false ": true,
	} {
		t.Setenv("NIX_CONFIG", config)
		if got := slices.Contains(Store{}.options(), "sandbox-fallback"); got != want {
			t.Errorf("NIX_CONFIG=%q: the sandbox is asked for: %v", config, got)
		}
	}
}
