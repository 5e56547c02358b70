package workflows

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// TestOwnImage makes the factory's own image on one that the factory has just
// published, and runs a cycle in it as a user who owns nothing there. It makes the
// very same images.
func TestOwnImage(t *testing.T) {
	to := registrytest.Start(t, registrytest.Options{}) + "/org"
	t.Setenv("FACTORY_PUBLISH", to)
	t.Setenv("FACTORY_IMAGE_SOURCE", "https://github.com/Org/images")
	folder := t.TempDir()
	config := configure(t, folder)
	published := publishedDigests(t, output(t, compile(t), "--config", config, "--state", filepath.Join(folder, "factory.db"),
		"--cache-dir", filepath.Join(folder, "work"), "run", "--once", "--output", "json"))
	if len(published) != 2 {
		t.Fatalf("published: %v, want both channels", published)
	}

	rev := strings.Repeat("5e", 20)
	makeOwnImage := func() string {
		return string(output(t, "make", "--no-print-directory", "-C", root, "own-image", "REVISION="+rev, "ARGS=--config "+config))
	}
	made := makeOwnImage()
	own := digest(t, to+"/factory:latest")
	if want := to + "/factory:latest@" + own + "\n"; made != want {
		t.Errorf("make own-image printed %q, want %q", made, want)
	}
	if got := digest(t, to+"/factory:"+rev); got != own {
		t.Errorf("its commit's tag is %s, latest %s", got, own)
	}
	if err := os.WriteFile(filepath.Join(folder, "images/base/README.md"), []byte("changed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := makeOwnImage(); again != made {
		t.Errorf("a README changed the factory's own image from %s to %s", made, again)
	}
	for _, engine := range containertest.Engines(t) {
		t.Run(engine.String(), func(t *testing.T) {
			t.Parallel()
			runFactoryIn(t, engine, to+"/factory:latest", published)
		})
	}
}

// configure makes a configuration that follows the stand-in upstream, with an
// image folder of its own, and returns its file.
func configure(t *testing.T, dir string) string {
	t.Helper()
	fixture, err := standin.Prepare(t.Context(), standin.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := fixture.Start(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Close)
	if err := os.CopyFS(filepath.Join(dir, "images/base"), os.DirFS(root+"/images/base")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "channels.yaml")
	text := fmt.Sprintf(`upstream: { api: %q, archive: %q }
substituters: [ { url: %q, keys: [ %q ] } ]
images: [ { folder: images/base } ]
systems: [ x86_64-linux, aarch64-linux ]
channels:
  - name: nixos-26.05
    tags: [ latest ]
  - name: nixos-unstable
`, upstream.API(), upstream.Archive(), upstream.Cache(), upstream.PublicKey())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// output runs a program and returns what it prints to stdout.
func output(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return out
}

// publishedDigests are the digests by channel in what a cycle prints.
func publishedDigests(t *testing.T, out []byte) map[string]string {
	t.Helper()
	var results []struct {
		Channel   string
		Published []struct{ Digest string }
	}
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := make(map[string]string)
	for _, r := range results {
		for _, p := range r.Published {
			all[r.Channel] = p.Digest
		}
	}
	return all
}

// digest is what a reference points to.
func digest(t *testing.T, reference string) string {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	return desc.Digest.String()
}

// runFactoryIn runs a cycle in a container of the factory's own image.
func runFactoryIn(t *testing.T, engine containertest.Engine, ref string, want map[string]string) {
	t.Helper()
	container := engine.Start(t, engine.Pull(t, ref), containertest.Options{HostNetwork: true})
	env := []string{"FACTORY_PUBLISH=" + registrytest.Start(t, registrytest.Options{}) + "/org"}
	r := container.Exec(t, containertest.Command{Args: []string{"factory", "doctor"}, Env: env, User: "65532"})
	if r.Code != 0 {
		t.Errorf("factory doctor: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	r = container.Exec(t, containertest.Command{Args: []string{"factory", "run", "--once", "--output", "json"}, Env: env, User: "65532"})
	if r.Code != 0 {
		t.Fatalf("factory run --once: exit code %d\n%s", r.Code, r.Stderr)
	}
	if diff := cmp.Diff(want, publishedDigests(t, []byte(r.Stdout))); diff != "" {
		t.Errorf("digests mismatch (-machine +own image):\n%s", diff)
	}
	// What runners do with it.
	if r := container.Exec(t, containertest.Command{Args: []string{"/bin/sleep", "0"}}); r.Code != 0 {
		t.Errorf("/bin/sleep: exit code %d\n%s", r.Code, r.Stderr)
	}
}
