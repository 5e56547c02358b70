// Package registrytest starts a real registry (Debian's docker-registry) for a
// test, on a loopback port and with its storage in a temporary folder.
package registrytest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	programs "github.com/nixpkgs-factory/factory/internal/run"
)

// Options are how a registry is started.
type Options struct {
	// Htpasswd asks for a login: a line of an htpasswd file with a bcrypt hash.
	Htpasswd string
}

// Start starts a registry and returns its host and port. It is stopped at the
// end of the test. Without docker-registry on this machine the test is skipped.
func Start(t testing.TB, o Options) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed (Debian package docker-registry)")
	}
	dir := t.TempDir()
	addr := freePort(t)
	conf := fmt.Sprintf("version: 0.1\nlog: {level: info, accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), addr)
	if o.Htpasswd != "" {
		users := filepath.Join(dir, "htpasswd")
		write(t, users, o.Htpasswd+"\n")
		conf += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", users)
	}
	file := filepath.Join(dir, "config.yml")
	write(t, file, conf)
	var log bytes.Buffer
	cmd := exec.Command(program, "serve", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = programs.DiesWithUs()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("docker-registry: %s", log.Bytes())
		}
	})
	await(t, "http://"+addr+"/v2/")
	return addr
}

// await returns once something answers at url.
func await(t testing.TB, url string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
