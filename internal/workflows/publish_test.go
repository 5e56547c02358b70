package workflows

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// A fork is a checkout of this repository whose channels are the stand-in's, with
// a registry that asks for a login.
type fork struct {
	*github
	upstream *standin.Server
	commits  map[string][]standin.Commit
	registry string // HOST:PORT/PATH
}

const (
	registryPassword = "secret"
	// bcrypt of that
	registryUsers = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
)

var channels = []string{"nixos-26.05", "nixos-unstable"}

func newFork(t *testing.T) *fork {
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
	sources := t.TempDir()
	for _, part := range []string{"cmd", "internal", "images", "scripts", ".github", "Makefile", "go.mod", "go.sum"} {
		if err := copyTree(filepath.Join(root, part), filepath.Join(sources, part)); err != nil {
			t.Fatal(err)
		}
	}
	removeTests(t, sources)
	text := fmt.Sprintf(`upstream: { api: %q, archive: %q }
substituters: [ { url: %q, keys: [ %q ] } ]
systems: [ x86_64-linux, aarch64-linux ]
channels:
  - name: nixos-26.05
    tags: [ latest ]
  - name: nixos-unstable
`, upstream.API(), upstream.Archive(), upstream.Cache(), upstream.PublicKey())
	if err := os.WriteFile(filepath.Join(sources, "channels.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	f := &fork{
		github: newGitHub(t, sources), upstream: upstream, commits: fixture.Channels(),
		registry: registrytest.Start(t, registrytest.Options{Htpasswd: registryUsers}) + "/org",
	}
	// As the operator's guide says. ghcr.io, the default, is out of reach here.
	f.vars["REGISTRY"], f.vars["FACTORY_PUBLISH"] = f.registry, f.registry
	f.vars["REGISTRY_USER"], f.secrets["REGISTRY_PASSWORD"] = "ann", registryPassword
	return f
}

// removeTests takes out of a checkout what no workflow reads, for every job makes a
// copy of it.
func removeTests(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			if err := os.RemoveAll(name); err != nil {
				return err
			}
			return fs.SkipDir
		case strings.HasSuffix(name, "_test.go"):
			return os.Remove(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// head is the commit that a channel points to.
func (f *fork) head(channel string) string { return f.upstream.Head(channel) }

// digest is what a reference in the fork's registry points to, "" if it is not there.
func (f *fork) digest(reference string) string {
	f.t.Helper()
	ref, err := name.ParseReference(f.registry + "/" + reference)
	if err != nil {
		f.t.Fatal(err)
	}
	desc, err := remote.Head(ref, remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: "ann", Password: registryPassword})))
	if err != nil {
		if strings.Contains(err.Error(), "404") {
			return ""
		}
		f.t.Fatal(err)
	}
	return desc.Digest.String()
}

// mistag makes a tag point to an image that nobody wants.
func (f *fork) mistag(reference string) {
	f.t.Helper()
	ref, err := name.ParseReference(f.registry + "/" + reference)
	if err != nil {
		f.t.Fatal(err)
	}
	auth := authn.FromConfig(authn.AuthConfig{Username: "ann", Password: registryPassword})
	if err := remote.Write(ref, empty.Image, remote.WithAuth(auth)); err != nil {
		f.t.Fatal(err)
	}
}

// digests are those of the heads' commit tags.
func (f *fork) digests() map[string]string {
	all := make(map[string]string)
	for _, channel := range channels {
		all[channel] = f.digest("nixpkgs-" + channel + ":" + f.head(channel))
	}
	return all
}

// factory runs the program that the workflow has compiled, with a state and a folder
// of its own, and returns the digests that it has published for the heads.
func (f *fork) factory(publish string, args ...string) map[string]string {
	f.t.Helper()
	i := slices.IndexFunc(f.caches, func(e cached) bool { return strings.HasPrefix(e.key, "factory-Linux-X64-") })
	if i < 0 {
		f.t.Fatal("the workflow has compiled no factory")
	}
	dir := f.t.TempDir()
	cmd := exec.Command(filepath.Join(f.caches[i].dir, "bin/factory"), append([]string{
		"--config", filepath.Join(f.sources, "channels.yaml"), "--publish", publish,
		"--state", filepath.Join(dir, "factory.db"), "--cache-dir", filepath.Join(dir, "work"), "--output", "json",
	}, args...)...)
	// What the workflow says of itself enters the digests.
	cmd.Env = append(os.Environ(), "FACTORY_IMAGE_SOURCE=https://github.com/Org/images")
	cmd.Stderr = f.t.Output()
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("factory %v: %v", args, err)
	}
	return publishedDigests(f.t, out)
}

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

func (f *fork) want(o outcome, results map[string]string) {
	f.t.Helper()
	if diff := cmp.Diff(results, o.results); diff != "" {
		f.t.Fatalf("run %d: results of jobs mismatch (-want +got):\n%s\n%s", f.run, diff, o)
	}
}

// TestPublish runs publish.yml as GitHub would, from a fork's first hour on, and
// holds what it publishes against what one machine publishes with one command.
func TestPublish(t *testing.T) {
	f := newFork(t)
	other := registrytest.Start(t, registrytest.Options{}) + "/org"
	const ok, failed, skipped = "success", "failure", "skipped"
	all := func(plan, build, join, rebuild, own string) map[string]string {
		return map[string]string{"plan": plan, "build": build, "join": join, "rebuild": rebuild, "own-image": own}
	}

	// The first hour: everything is new, nothing is cached.
	o := f.start(publishYML, event{name: "schedule"})
	f.want(o, all(ok, ok, ok, skipped, ok))
	oneMachine := f.factory(other, "run", "--once")
	if diff := cmp.Diff(oneMachine, f.digests()); diff != "" || len(oneMachine) != len(channels) {
		t.Fatalf("digests of one machine and of the workflow's jobs mismatch (-one +jobs):\n%s", diff)
	}
	if got, want := f.digest("nixpkgs-nixos-26.05:latest"), f.digests()["nixos-26.05"]; got != want {
		t.Errorf("latest is %s, want %s", got, want)
	}
	checkSummary(t, o, f.digests())
	own := f.digest("factory:latest")
	if own == "" || own != f.digest("factory:"+strings.Repeat("5e", 20)) {
		t.Errorf("the factory's own image is %q", own)
	}
	f.runOwnImage(oneMachine)

	// The second hour: nothing is new. No Go, no Nix, one job; requests with an ETag.
	before := len(f.upstream.Requests())
	o = f.start(publishYML, event{name: "schedule"})
	f.want(o, all(ok, skipped, skipped, skipped, skipped))
	for _, step := range o.ran {
		if strings.Contains(step, "setup-go") || strings.Contains(step, "Compile") || strings.Contains(step, "upload") {
			t.Errorf("with nothing to do, a run took the step %q", step)
		}
	}
	for _, r := range f.upstream.Requests()[before:] {
		if r.Status != http.StatusNotModified {
			t.Errorf("with nothing to do, a run asked %s %s and got %d, want 304 only", r.Method, r.Path, r.Status)
		}
	}

	// The state is lost and with it the ETags, and somebody has moved a tag: still
	// nothing to build. The tag is put back and the state found again.
	f.mistag("nixpkgs-nixos-26.05:latest")
	f.caches = slices.DeleteFunc(f.caches, func(e cached) bool { return strings.HasPrefix(e.key, "factory-state-") })
	o = f.start(publishYML, event{name: "schedule"})
	f.want(o, all(ok, skipped, skipped, skipped, skipped))
	if !slices.ContainsFunc(f.caches, func(e cached) bool { return strings.HasPrefix(e.key, "factory-state-") }) {
		t.Error("the state that was found again is not kept")
	}
	if got, want := f.digest("nixpkgs-nixos-26.05:latest"), f.digests()["nixos-26.05"]; got != want {
		t.Errorf("latest was moved and is %s, want it put back to %s", got, want)
	}

	// A change of the sources that changes no image: only the factory's own.
	f.edit("images/base/README.md", "\n")
	o = f.start(publishYML, event{name: "push"})
	f.want(o, all(ok, skipped, skipped, skipped, ok))
	if got := f.digest("factory:latest"); got != own {
		t.Errorf("a README changed the factory's own image from %s to %s", own, got)
	}

	// One channel moves while the other cannot be asked about: the run fails, and
	// what can be published is.
	rev := f.move("nixos-26.05")
	remove := f.upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/branches/nixos-unstable") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	o = f.start(publishYML, event{name: "schedule"})
	f.want(o, all(failed, ok, ok, skipped, ok))
	remove()
	if !strings.Contains(o.log, "::error title=nixos-unstable::") {
		t.Errorf("no annotation says that a channel could not be planned\n%s", o.log)
	}
	moved := f.digest("nixpkgs-nixos-26.05:" + rev)
	if moved == "" || moved != f.digest("nixpkgs-nixos-26.05:latest") {
		t.Errorf("%s is %q, latest %q", rev, moved, f.digest("nixpkgs-nixos-26.05:latest"))
	}
	if got := f.digest("factory:latest"); got == own {
		t.Error("the factory's own image is still on the old base")
	}

	// A part is missing: its commit is not published, and the run fails.
	rev = f.move("nixos-unstable")
	remove = f.upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cache/") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	o = f.start(publishYML, event{name: "schedule"})
	f.want(o, all(ok, failed, failed, skipped, skipped))
	remove()
	if !strings.Contains(o.log, "it was not built") {
		t.Errorf("no annotation says what was not built\n%s", o.log)
	}
	if got := f.digest("nixpkgs-nixos-unstable:" + rev); got != "" {
		t.Errorf("without its parts %s was published as %s", rev, got)
	}
	o = f.start(publishYML, event{name: "schedule"})
	f.want(o, all(ok, ok, ok, skipped, ok))
	if diff := cmp.Diff(f.factory(other, "run", "--once"), f.digests()); diff != "" {
		t.Errorf("digests of one machine and of the workflow's jobs mismatch (-one +jobs):\n%s", diff)
	}

	// By hand: a commit that the channel has passed before it was followed. Its
	// image appears, and no moving tag follows it.
	old := f.commits["nixos-26.05"][0].Rev
	latest := f.digest("nixpkgs-nixos-26.05:latest")
	o = f.start(publishYML, event{name: "workflow_dispatch", inputs: object{"channel": "nixos-26.05", "rev": old}})
	f.want(o, all(ok, skipped, skipped, ok, skipped))
	if got, want := f.digest("nixpkgs-nixos-26.05:"+old), f.factory(other, "rebuild", "--channel", "nixos-26.05", "--rev", old)["nixos-26.05"]; got != want {
		t.Errorf("by hand: %s is %q, one machine makes %q", old, got, want)
	}
	if got := f.digest("nixpkgs-nixos-26.05:latest"); got != latest {
		t.Errorf("by hand: latest went from %s to %s", latest, got)
	}
	o = f.start(publishYML, event{name: "workflow_dispatch", inputs: object{"channel": "", "rev": ""}})
	f.want(o, all(ok, skipped, skipped, skipped, skipped))

	// From another branch nothing is published, whoever starts it.
	o = f.start(publishYML, event{name: "workflow_dispatch", branch: "topic", inputs: object{"channel": "nixos-26.05"}})
	f.want(o, all(skipped, skipped, skipped, skipped, skipped))
}

// move moves a channel to its next commit.
func (f *fork) move(channel string) (rev string) {
	f.t.Helper()
	rev, err := f.upstream.NextHead(channel)
	if err != nil {
		f.t.Fatal(err)
	}
	return rev
}

// edit adds to a file of the fork.
func (f *fork) edit(file, text string) {
	f.t.Helper()
	at, err := os.OpenFile(filepath.Join(f.sources, file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := at.WriteString(text); err != nil {
		f.t.Fatal(err)
	}
	if err := at.Close(); err != nil {
		f.t.Fatal(err)
	}
}

func checkSummary(t *testing.T, o outcome, digests map[string]string) {
	t.Helper()
	for channel, digest := range digests {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(channel) + ` \|.*` + regexp.QuoteMeta(digest))
		if !row.MatchString(o.summary) {
			t.Errorf("the summary has no row with %s and %s:\n%s", channel, digest, o.summary)
		}
		if !strings.Contains(o.outputs["join"]["published"], digest) {
			t.Errorf("the output published is %q, want %s in it", o.outputs["join"]["published"], digest)
		}
	}
}

// runOwnImage runs a cycle within the image that the workflow has published, as a
// user who owns nothing there. It makes the very same images.
func (f *fork) runOwnImage(want map[string]string) {
	f.t.Helper()
	open := registrytest.Start(f.t, registrytest.Options{})
	copyImage(f.t, f.registry+"/factory:latest", open+"/factory:latest")
	engines := containertest.Engines(f.t)
	f.t.Run("own image", func(t *testing.T) {
		for _, engine := range engines {
			t.Run(engine.String(), func(t *testing.T) {
				t.Parallel()
				runFactoryIn(t, engine, open+"/factory:latest", want)
			})
		}
	})
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

// copyImage copies an image to a registry without a login.
func copyImage(t *testing.T, from, to string) {
	t.Helper()
	ref, err := name.ParseReference(from)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref, remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: "ann", Password: registryPassword})))
	if err != nil {
		t.Fatal(err)
	}
	ref, err = name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
}
