package containertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// buildah is the engine with storage of its own. There are no daemon and no
// processes besides those of commands.
type buildah struct {
	program []string // with the flags that name the storage
}

func findBuildah(t testing.TB) (buildah, bool) {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil || os.Geteuid() != 0 {
		return buildah{}, false
	}
	dir, err := os.MkdirTemp("", "containertest-")
	if err != nil {
		t.Fatal(err)
	}
	var b buildah
	// Not every file system can be below an overlay; copying works on all.
	for _, driver := range []string{"overlay", "vfs"} {
		at := filepath.Join(dir, driver)
		b.program = []string{"buildah", "--root", at + "/root", "--runroot", at + "/run", "--storage-driver", driver}
		r, err := run(t.Context(), "", append(b.program, "info")...)
		if err == nil && r.Code == 0 {
			break
		}
	}
	t.Cleanup(func() {
		// what is mounted cannot be removed
		run(context.Background(), "", append(b.program, "rm", "--all")...)
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("clean-up: %v", err)
		}
	})
	return b, true
}

func (b buildah) argv(args ...string) []string { return slices.Concat(b.program, args) }

func (buildah) String() string { return "buildah" }

func (b buildah) Pull(t testing.TB, ref string) string {
	t.Helper()
	return do(t, b.argv("pull", "--quiet", "--tls-verify=false", ref)...)
}

func (b buildah) Build(t testing.TB, dir string, arguments ...string) string {
	t.Helper()
	image := "localhost/" + mark + ":" + newTag()
	argv := b.argv("build", "--isolation", "chroot", "--pull-never", "--no-cache", "--tag", image)
	argv = append(argv, flags("--build-arg", arguments)...)
	do(t, append(argv, dir)...)
	return image
}

func (b buildah) Run(t testing.TB, image string, o Options, c Command) Result {
	t.Helper()
	return b.Start(t, image, o).Exec(t, c)
}

func (b buildah) Start(t testing.TB, image string, o Options) Container {
	t.Helper()
	if o.ReadOnly {
		t.Fatal("buildah cannot make a container's files read-only")
	}
	id := do(t, b.argv("from", "--pull-never", image)...)
	later(t, b.argv("rm", id)...)
	// It stays mounted until it is removed: with as many layers as make the options of
	// the mount longer than a page, release 1.28 mounts a container only once.
	root := do(t, b.argv("mount", id)...)
	_, err := os.Lstat(filepath.Join(root, "bin/sh"))
	return buildahContainer{b, id, o, err == nil}
}

type buildahContainer struct {
	buildah
	id    string
	o     Options
	shell bool // there is /bin/sh
}

// Exec does not trust buildah with what the command prints: with chroot
// isolation, release 1.28 at times loses what comes right before the end. Where
// there is a shell, it writes to files. Without one, a command that prints
// nothing is repeated.
func (b buildahContainer) Exec(t testing.TB, c Command) Result {
	t.Helper()
	if b.shell {
		return b.execByShell(t, c)
	}
	r := b.exec(t, c)
	for range 2 {
		if r.Stdout+r.Stderr != "" {
			break
		}
		r = b.exec(t, c)
	}
	return r
}

// outputs is where execByShell mounts a folder for the outputs.
const outputs = "/containertest"

func (b buildahContainer) execByShell(t testing.TB, c Command) Result {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"stdout", "stderr"} {
		// for whichever user the command runs as
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, nil, 0o666), os.Chmod(file, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	b.o.Mounts = append(slices.Clone(b.o.Mounts), Mount{Source: dir, Target: outputs})
	c.Args = append([]string{"/bin/sh", "-c", `exec "$@" > ` + outputs + `/stdout 2> ` + outputs + `/stderr`, "sh"}, c.Args...)
	r := b.exec(t, c)
	stdout, err1 := os.ReadFile(filepath.Join(dir, "stdout"))
	stderr, err2 := os.ReadFile(filepath.Join(dir, "stderr"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	r.Stdout, r.Stderr = string(stdout)+r.Stdout, string(stderr)+r.Stderr
	return r
}

// noise is what buildah adds when a command has failed.
var noise = regexp.MustCompile(`(?:subprocess exited with status [0-9]+\n?)+(?:time=.*\n)*Error: exit status [0-9]+\n$`)

func (b buildahContainer) exec(t testing.TB, c Command) Result {
	t.Helper()
	argv := b.argv("run", "--isolation", "chroot")
	argv = append(argv, flags("--env", slices.Concat(b.o.Env, c.Env))...)
	for _, m := range b.o.Mounts {
		volume := m.Source + ":" + m.Target
		if m.ReadOnly {
			volume += ":ro"
		}
		argv = append(argv, "--volume", volume)
	}
	for _, dir := range b.o.Tmpfs {
		argv = append(argv, "--mount", "type=tmpfs,destination="+dir)
	}
	if c.User != "" {
		argv = append(argv, "--user", c.User)
	}
	if c.WorkDir != "" {
		argv = append(argv, "--workingdir", c.WorkDir)
	}
	argv = slices.Concat(argv, []string{b.id, "--"}, c.Args)
	if !b.o.HostNetwork {
		// chroot isolation itself leaves the network as it is
		argv = append([]string{"unshare", "--net", "--"}, argv...)
	}
	r, err := run(t.Context(), c.Stdin, argv...)
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", argv, err, r.Stdout, r.Stderr)
	}
	r.Stderr = noise.ReplaceAllString(r.Stderr, "")
	return r
}

func (b buildah) Save(t testing.TB, image, file string) {
	t.Helper()
	do(t, b.argv("push", "--quiet", image, "docker-archive:"+file)...)
}

func (b buildah) Read(t testing.TB, image string) Contents {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	b.Save(t, image, file)
	return readArchive(t, file)
}
