package base_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program that enters a sandbox: started with this
// variable, which names the sandbox's root folder, it mounts what belongs there
// and becomes the command of its arguments.
const (
	enterVariable = "BASE_TEST_SANDBOX"
	tmpfsVariable = "BASE_TEST_TMPFS" // path:options, separated by spaces
)

func TestMain(m *testing.M) {
	if root := os.Getenv(enterVariable); root != "" {
		err := enter(root, os.Args[1:])
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(125)
	}
	code := m.Run()
	if template.dir != "" {
		removeAll(template.dir)
	}
	os.Exit(code)
}

// enter gives the sandbox the programs of this machine and its devices, but not
// its network, its /etc or its /nix.
func enter(root string, argv []string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc"} {
		if target, err := os.Readlink(dir); err == nil {
			if err := os.Symlink(target, root+dir); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			continue
		}
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(dir, root+dir, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for _, mount := range strings.Fields(os.Getenv(tmpfsVariable)) {
		dir, options, _ := strings.Cut(mount, ":")
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", root+dir, "tmpfs", 0, options); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/proj"); err != nil {
		return err
	}
	file, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BASE_TEST_") {
			env = append(env, v)
		}
	}
	if user := os.Getenv("BASE_TEST_UID"); user != "" {
		uid, err := strconv.Atoi(user)
		if err != nil {
			return err
		}
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(uid), syscall.Setuid(uid)); err != nil {
			return err
		}
	}
	return syscall.Exec(file, argv, env)
}

// A sandbox is a root folder as in the image, except that the tools are those of
// this machine, among them its Nix.
type sandbox struct {
	t    *testing.T
	root string
}

// template is a sandbox that the others are copies of.
var template struct {
	sync.Once
	dir string
	err error
}

// scratch is where sandboxes are made: in memory if programs can be run from
// there, for making many small files and links is slow on some disks.
func scratch() string {
	const memory, noexec = "/dev/shm", 8 // statfs(2), ST_NOEXEC
	var st syscall.Statfs_t
	if err := syscall.Statfs(memory, &st); err != nil || st.Flags&noexec != 0 || syscall.Access(memory, 2) != nil {
		return ""
	}
	return memory
}

// newSandbox returns a sandbox whose store has the packages of packages.nix.
func newSandbox(t *testing.T) sandbox {
	t.Helper()
	return copySandbox(t, ".")
}

// toolSandbox returns a sandbox that has the scripts and no store.
func toolSandbox(t *testing.T) sandbox {
	t.Helper()
	return copySandbox(t, "proj", "tmp", "root", "home", "nix/profile", "usr", "dev", "proc", "etc")
}

// copySandbox makes a sandbox of some of the template's folders.
func copySandbox(t *testing.T, folders ...string) sandbox {
	t.Helper()
	if testing.Short() {
		t.Skip("makes containers")
	}
	template.Do(func() {
		if template.dir, template.err = os.MkdirTemp(scratch(), "base-test-"); template.err == nil {
			template.err = makeTemplate(template.dir)
		}
	})
	if template.err != nil {
		t.Fatal(template.err)
	}
	dir, err := os.MkdirTemp(scratch(), "base-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(dir) })
	s := sandbox{t, filepath.Join(dir, "root")}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(s.root, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cp", append([]string{"-a", "--parents", "-t", s.root}, folders...)...)
	cmd.Dir = filepath.Join(template.dir, "root")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	return s
}

func makeTemplate(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"proj", "tmp", "root", "home", "nix/profile/bin", "nix/store", "nix/var/nix", "usr", "dev", "proc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		return err
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		return err
	}
	if err := os.Symlink(bash, filepath.Join(root, "nix/profile/bin/bash")); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"rootfs/etc", filepath.Join(root, "etc")},
		{"bin/.", filepath.Join(root, "nix/profile/bin")},
		{"testdata/packages.nix", filepath.Join(root, "proj")},
	} {
		if out, err := exec.Command("cp", "-a", args[0], args[1]).CombinedOutput(); err != nil {
			return fmt.Errorf("cp: %w\n%s", err, out)
		}
	}
	out := run(context.Background(), root, nil, nil, "sh", "-c", `
		for name in $(nix-instantiate --eval -E 'toString (builtins.attrNames (import ./packages.nix))' | tr -d '"'); do
			nix-build packages.nix -A "$name" -o "$name"
		done`)
	if out.code != 0 {
		return fmt.Errorf("build packages: exit code %d\n%s", out.code, out.stderr)
	}
	return nil
}

type result struct {
	code           int
	stdout, stderr string
}

// do runs a script of sh in the sandbox.
func (s sandbox) do(script string, env ...string) result {
	s.t.Helper()
	return run(s.t.Context(), s.root, env, nil, "sh", "-ec", script)
}

// must is do for what has to work.
func (s sandbox) must(script string, env ...string) string {
	s.t.Helper()
	r := s.do(script, env...)
	if r.code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", script, r.code, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// run runs a command in a sandbox. Its environment is that of the image, with
// the variables of env in front.
func run(ctx context.Context, root string, env []string, started func(*os.Process), argv ...string) result {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", argv...)
	cmd.Env = append([]string{
		"PATH=/root/.nix-profile/bin:/nix/var/nix/profiles/default/bin:/nix/profile/bin:/usr/bin:/bin",
		"HOME=/root", "USER=root",
		"NIX_CONFIG=substituters =\ngc-reserved-space = 0",
		enterVariable + "=" + root,
	}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Start()
	if err == nil {
		if started != nil {
			started(cmd.Process)
		}
		err = cmd.Wait()
	}
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.code, r.stderr = -1, r.stderr+err.Error()
	}
	return r
}

// needRoot is for tests that need more than one user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have files of several users")
	}
}

// write makes a file of the sandbox, for all to execute.
func (s sandbox) write(name, text string) {
	s.t.Helper()
	file := filepath.Join(s.root, name)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// removeAll removes a folder with store paths in it, which are not writable.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}
