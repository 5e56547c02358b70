//go:build linux

package run

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name     string
		script   string
		confined Confinement
		want     string // of stdout, where it does not fail
		says     string // of stderr, where it does
	}{
		{"runs", `echo "$1"`, Confinement{Memory: 256 << 20}, dir + "\n", ""},
		{"memory", `dd if=/dev/zero of=/dev/null bs=1G count=1`, Confinement{Memory: 256 << 20}, "", "memory exhausted"},
		{"no more memory for its children", `(dd if=/dev/zero of=/dev/null bs=1G count=1)`, Confinement{Memory: 256 << 20}, "", "memory exhausted"},
		{"files", `echo x > "$1/file"`, Confinement{NoFiles: true}, "", ""},
		{"limits of time", `ulimit -t`, Confinement{CPU: 7 * time.Second}, "7\n", ""},
		{"no core dumps", `ulimit -c`, Confinement{}, "0\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sh(tt.script, dir)
			c.Confined = &tt.confined
			out, err := c.Run(t.Context())
			var ended *Error
			switch {
			case tt.want != "" && (err != nil || string(out) != tt.want):
				t.Errorf("Run() = %q, %v, want %q", out, err, tt.want)
			case tt.want == "" && (!errors.As(err, &ended) || !strings.Contains(ended.Stderr, tt.says)):
				t.Errorf("Run() = %q, %v, want an error that says %q", out, err, tt.says)
			}
		})
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "file")); len(data) > 0 {
		t.Errorf("%q was written", data)
	}
}

// namespaces tells why this machine has none for us, if so.
func namespaces(t *testing.T) {
	t.Helper()
	c := sh("true")
	c.Dir, c.Confined = t.TempDir(), &Confinement{Namespaces: &Namespaces{}}
	c.Confined.Namespaces.Read = []string{c.Dir}
	if _, err := c.Run(t.Context()); err != nil {
		var ended *Error
		errors.As(err, &ended)
		t.Skipf("no namespaces on this machine: %v: %s", err, ended.Stderr)
	}
}

func TestNamespaces(t *testing.T) {
	namespaces(t)
	base := t.TempDir()
	for _, dir := range []string{"read", "write", "home", "work"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, dir, "file"), []byte(dir+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, tt := range []struct{ name, script, want string }{
		{"sees what it may read", `cat "$1/read/file" "$1/write/file"`, "read\nwrite\n"},
		{"where it starts", `pwd`, filepath.Join(base, "work") + "\n"},
		{"nothing beside it", `ls "$1"`, "read\nwork\nwrite\n"},
		{"nobody's home", `ls -d /root /home /etc/passwd /tmp/.X11-unix /run /var 2>/dev/null; echo none`, "none\n"},
		{"nothing of the old root", `ls -a / | grep -cv '^\(\.\|\.\.\|usr\|s*bin\|lib.*\|nix\|etc\|proc\|dev\|tmp\|` + firstFolder(base) + `\)$'`, "0\n"},
		{"reads only", `echo x 2>/dev/null > "$1/read/file" || echo refused`, "refused\n"},
		{"no new files", `echo x 2>/dev/null > "/file" || echo refused`, "refused\n"},
		{"not the system's", `echo x 2>/dev/null > /usr/bin/file-of-the-test || echo refused`, "refused\n"},
		{"may write", `echo y > "$1/write/new"; cat "$1/write/new"`, "y\n"},
		{"no other process", `set -- /proc/[0-9]*; echo $#`, "1\n"},
		{"nor the factory", fmt.Sprintf(`ls /proc/%d 2>/dev/null || echo none`, os.Getpid()), "none\n"},
		{"no capabilities", `grep CapEff /proc/self/status`, "CapEff:\t0000000000000000\n"},
		{"no network", `exec 2>/dev/null; bash -c 'echo > /dev/tcp/127.0.0.1/` + port + `' || echo none`, "none\n"},
		{"no interface", `tail -n +3 /proc/net/dev | grep -cv ' lo:'`, "0\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sh(tt.script+"; true", base)
			c.Dir = filepath.Join(base, "work")
			c.Confined = &Confinement{Namespaces: &Namespaces{
				Read:  []string{filepath.Join(base, "read"), filepath.Join(base, "work")},
				Write: []string{filepath.Join(base, "write")},
			}}
			out, err := c.Run(t.Context())
			if err != nil || string(out) != tt.want {
				t.Errorf("Run() = %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

// With a store of its own a program sees that one, and nothing of the system.
func TestNamespacesWithStore(t *testing.T) {
	namespaces(t)
	base := t.TempDir()
	for _, name := range []string{"store/a/file", "store/b/file", "work/file"} {
		if err := os.MkdirAll(filepath.Join(base, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../store/a/file", filepath.Join(base, "store/LINK")); err != nil { // comes first
		t.Fatal(err)
	}
	c := sh(`cd /nix/store && echo * && cat a/file LINK && ls -d /usr/share /etc "$1/store" 2>/dev/null; echo x 2>/dev/null > a/new || echo refused`, base)
	c.Dir = filepath.Join(base, "work")
	c.Confined = &Confinement{Namespaces: &Namespaces{
		Read:  []string{c.Dir, "/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64"}, // for sh
		Store: filepath.Join(base, "store"),
	}}
	out, err := c.Run(t.Context())
	if want := "LINK a b\nstore/a/file\nstore/a/file\nrefused\n"; err != nil || string(out) != want {
		t.Errorf("Run() = %q, %v, want %q", out, err, want)
	}
}

// Folders for temporary files are links on some machines.
func TestTryNamespacesBehindALink(t *testing.T) {
	namespaces(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", link)
	if err := TryNamespaces(t.Context()); err != nil {
		t.Error(err)
	}
}

func firstFolder(path string) string { return strings.Split(path, "/")[1] }

// How a program ends comes through, and what cannot be set up is an error that
// says what.
func TestNamespacesEnd(t *testing.T) {
	namespaces(t)
	dir := t.TempDir()
	confined := func(read string, script string) Command {
		c := sh(script)
		c.Dir, c.Confined = dir, &Confinement{Namespaces: &Namespaces{Read: []string{dir, read}}}
		return c
	}
	for script, want := range map[string]int{"exit 3": 3, "sh -c 'kill -TERM $$'": 128 + 15} {
		_, err := confined(dir, script).Run(t.Context())
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: %v, want exit code %d", script, err, want)
		}
	}
	_, err := confined(dir+"/missing", "true").Run(t.Context())
	var ended *Error
	if !errors.As(err, &ended) || !strings.Contains(ended.Stderr, "missing") {
		t.Errorf("a folder that is not there: %v", err)
	}
	late := confined(dir, "exec sleep 1000")
	late.Limit, late.Grace = 200*time.Millisecond, 50*time.Millisecond
	if _, err := late.Run(t.Context()); !errors.As(err, new(*TimeError)) {
		t.Errorf("a program that does not end: %v", err)
	}
}
