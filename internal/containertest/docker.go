package containertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mark is the repository of all images that this package makes in Docker, and
// the label of all containers. Tags and values of labels begin with the time in
// Unix seconds, so that leftovers can be told from what is in use.
const mark = "nixpkgs-factory-test"

// keep is how old anything with the mark may get.
const keep = time.Hour

type docker struct{}

func findDocker(t testing.TB) (docker, bool) {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		return docker{}, false
	}
	r, err := run(t.Context(), "", "docker", "version", "--format", "{{.Server.Version}}")
	if err != nil || r.Code != 0 {
		return docker{}, false
	}
	sweep(t, time.Now().Add(-keep))
	return docker{}, true
}

// sweep removes everything with the mark that is older.
func sweep(t testing.TB, before time.Time) {
	t.Helper()
	remove := func(list, verb []string) {
		for line := range strings.Lines(do(t, list...)) {
			name, since, _ := strings.Cut(strings.TrimSpace(line), " ")
			seconds, _, _ := strings.Cut(since, "-")
			made, err := strconv.ParseInt(seconds, 10, 64)
			if err == nil && time.Unix(made, 0).Before(before) {
				// another process may do the same at the same time
				run(t.Context(), "", append(verb, name)...)
			}
		}
	}
	remove([]string{"docker", "container", "ls", "--all", "--filter", "label=" + mark, "--format", `{{.ID}} {{.Label "` + mark + `"}}`},
		[]string{"docker", "container", "rm", "--force", "--volumes"})
	remove([]string{"docker", "image", "ls", mark, "--format", "{{.Repository}}:{{.Tag}} {{.Tag}}"},
		[]string{"docker", "image", "rm", "--force"})
}

var counter atomic.Int64

// newTag returns a tag that no other process uses.
func newTag() string {
	return fmt.Sprintf("%d-%d-%d", time.Now().Unix(), os.Getpid(), counter.Add(1))
}

func (docker) String() string { return "docker" }

func (docker) Pull(t testing.TB, ref string) string {
	t.Helper()
	do(t, "docker", "pull", "--quiet", ref)
	image := mark + ":" + newTag()
	do(t, "docker", "image", "tag", ref, image)
	do(t, "docker", "image", "rm", ref)
	later(t, "docker", "image", "rm", "--force", image)
	return image
}

func (docker) Build(t testing.TB, dir string, arguments ...string) string {
	t.Helper()
	image := mark + ":" + newTag()
	argv := []string{"docker", "build", "--no-cache", "--force-rm", "--network", "host", "--label", mark + "=" + newTag(), "--tag", image}
	argv = append(argv, flags("--build-arg", arguments)...)
	r, err := run(t.Context(), "", append(argv, dir)...)
	log := r.Stdout + r.Stderr
	t.Cleanup(func() { removeSteps(t, image, log) })
	if err != nil || r.Code != 0 {
		t.Fatalf("docker build: exit code %d, %v\n%s", r.Code, err, log)
	}
	return image
}

var step = regexp.MustCompile(`(?m)^ ---> ([0-9a-f]{12,})$`)

// removeSteps removes an image and the nameless ones of its build. BuildKit
// makes none; the cache that it keeps instead it bounds itself.
func removeSteps(t testing.TB, image, log string) {
	ctx := context.Background()
	run(ctx, "", "docker", "image", "rm", "--force", image)
	matches := step.FindAllStringSubmatch(log, -1)
	for _, m := range slices.Backward(matches) {
		// gone already, or the base image
		r, err := run(ctx, "", "docker", "image", "inspect", "--format", "{{len .RepoTags}}", m[1])
		if err != nil || strings.TrimSpace(r.Stdout) != "0" {
			continue
		}
		if r, err := run(ctx, "", "docker", "image", "rm", m[1]); err != nil || r.Code != 0 {
			t.Logf("clean-up: image %s stays: %v\n%s", m[1], err, r.Stderr)
		}
	}
}

// container returns the flags of docker run for a container.
func (o Options) container() []string {
	network := "none"
	if o.HostNetwork {
		network = "host"
	}
	list := append([]string{"--rm", "--label", mark + "=" + newTag(), "--network", network}, flags("--env", o.Env)...)
	for _, dir := range o.Tmpfs {
		list = append(list, "--tmpfs", dir)
	}
	if o.ReadOnly {
		list = append(list, "--read-only")
	}
	for _, m := range o.Mounts {
		volume := "type=bind,source=" + m.Source + ",target=" + m.Target
		if m.ReadOnly {
			volume += ",readonly"
		}
		list = append(list, "--mount", volume)
	}
	return list
}

// process returns the flags of docker run and docker exec for a command.
func (c Command) process() []string {
	list := append([]string{"--interactive"}, flags("--env", c.Env)...)
	if c.User != "" {
		list = append(list, "--user", c.User)
	}
	if c.WorkDir != "" {
		list = append(list, "--workdir", c.WorkDir)
	}
	return list
}

// command runs a command that docker only passes on.
func (docker) command(t testing.TB, c Command, argv []string) Result {
	t.Helper()
	r, err := run(t.Context(), c.Stdin, append(argv, c.Args...)...)
	if err != nil || r.Code == 125 || strings.HasPrefix(r.Stderr, "Error response from daemon: ") {
		t.Fatalf("%q: exit code %d, %v\n%s%s", argv, r.Code, err, r.Stdout, r.Stderr)
	}
	return r
}

func (d docker) Run(t testing.TB, image string, o Options, c Command) Result {
	t.Helper()
	return d.command(t, c, slices.Concat([]string{"docker", "run"}, o.container(), c.process(), []string{image}))
}

func (d docker) Start(t testing.TB, image string, o Options) Container {
	t.Helper()
	id := do(t, slices.Concat([]string{"docker", "run", "--detach", "--entrypoint", "tail"}, o.container(), []string{image, "-f", "/dev/null"})...)
	later(t, "docker", "container", "rm", "--force", "--volumes", id)
	return dockerContainer{d, id}
}

type dockerContainer struct {
	docker
	id string
}

func (d dockerContainer) Exec(t testing.TB, c Command) Result {
	t.Helper()
	return d.command(t, c, slices.Concat([]string{"docker", "exec"}, c.process(), []string{d.id}))
}

func (docker) Save(t testing.TB, image, file string) {
	t.Helper()
	do(t, "docker", "image", "save", "--output", file, image)
}

func (d docker) Read(t testing.TB, image string) Contents {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	d.Save(t, image, file)
	return readArchive(t, file)
}
