// Package atticserver is the image folder of the Attic server. Its tests run the
// image of the miniature nixpkgs, whose server stands in for the real one.
package atticserver

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/imagetest"
)

const (
	examples = "../../examples/attic-server"
	port     = "8080/tcp"
	secret   = "ATTIC_SERVER_TOKEN_RS256_SECRET_BASE64=c2VjcmV0"
)

// attic is the image in Docker.
type attic struct {
	engine containertest.Engine
	image  string
}

func TestContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("makes containers")
	}
	engine := containertest.Docker(t)
	in := attic{engine, engine.Pull(t, imagetest.Publish(t, ".", "x86_64-linux").Ref)}
	t.Run("contents", in.testContents)
	t.Run("mounted file", in.testMounted)
	t.Run("environment", in.testEnvironment)
	t.Run("refuses", in.testRefuses)
	t.Run("modes", in.testModes)
	t.Run("compose", in.testCompose)
	t.Run("kubernetes", in.testKubernetes)
}

func (in attic) testContents(t *testing.T) {
	contents := in.engine.Read(t, in.image)
	c := contents.Config
	if !slices.Equal(c.Entrypoint, []string{"/bin/atticd"}) || !slices.Equal(c.Cmd, []string{"--mode", "monolithic"}) || c.User != "1000:1000" {
		t.Errorf("it runs %q %q as %q", c.Entrypoint, c.Cmd, c.User)
	}
	if _, ok := c.ExposedPorts[port]; !ok || c.Labels["org.opencontainers.image.version"] != "0.1.0" {
		t.Errorf("ports %v, labels %v", c.ExposedPorts, c.Labels)
	}
	for _, name := range []string{"/bin/atticd", "/bin/atticadm", "/etc/ssl/certs/ca-certificates.crt", "/etc/passwd"} {
		if _, ok := contents.Find(name); !ok {
			t.Errorf("%s is not there", name)
		}
	}
	for _, name := range []string{"/bin/sh", "/nix/var/nix/db", "/nix/var/nix/gcroots", "/attic/server.toml"} {
		if _, ok := contents.Find(name); ok {
			t.Errorf("%s is there", name)
		}
	}
	if data, ok := contents.Find("/data"); !ok || data.UID != 1000 || data.GID != 1000 {
		t.Errorf("/data: %+v", data)
	}
	for _, f := range contents.Below("/nix/store") {
		if strings.Contains(f.Path, "-nixpkgs-src") || strings.Contains(f.Path, "-bash-") {
			t.Errorf("%s is in the image", f.Path)
			break
		}
	}
}

// file is a configuration on this machine.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "server.toml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// example is a file that people are to start from.
func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serves holds what the stand-in says of itself against lines.
func serves(t *testing.T, s containertest.Service, want ...string) {
	t.Helper()
	if status, body := s.Get(t, port, "/"); status != 200 || !strings.Contains(body, "attic") {
		t.Errorf("/: status %d\n%s", status, body)
	}
	_, said := s.Get(t, port, "/stand-in")
	for _, line := range append(want, "migrated: yes", "storage writable: yes", "user: 1000", "certificates: yes") {
		if !slices.Contains(strings.Split(said, "\n"), line) {
			t.Errorf("the server does not say %q:\n%s", line, said)
		}
	}
}

// The commands of README.md, and the file of the example, are all that it takes.
func (in attic) testMounted(t *testing.T) {
	name := fmt.Sprintf("nixpkgs-factory-test-%d", os.Getpid())
	cmd := exec.Command("sh", "-ec", in.commands(t, name))
	cmd.Dir = filepath.Dir(file(t, example(t, "server.toml")))
	t.Cleanup(func() { exec.Command("docker", "rm", "--force", "--volumes", name).Run() })
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nstandin.root.") {
		t.Fatalf("%v\n%s", err, out)
	}
	s := containertest.ServiceOf(name)
	serves(t, s, "configuration: /attic/server.toml", "signing: rs256-secret")
	if !strings.Contains(s.Logs(t), "Running migrations...") {
		t.Errorf("no migrations:\n%s", s.Logs(t))
	}
	// 143 is what SIGTERM leaves, and the engine's last resort would be 137.
	if code := s.Stop(t); code != 143 {
		t.Errorf("stopped with exit code %d, want 143", code)
	}
}

// commands are those of README.md, with this image and with names of the test's own.
func (in attic) commands(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```\n")
	block, _, _ = strings.Cut(block, "```")
	for from, to := range map[string]string{
		"ghcr.io/my-org/attic-server:latest": in.image,
		"127.0.0.1:8080:8080":                "127.0.0.1::8080",
		"--volume attic:/data":               "--volume /data",
		"--name attic":                       "--name " + name,
		"docker exec attic":                  "docker exec " + name,
	} {
		if !strings.Contains(block, from) {
			t.Fatalf("README.md has no %q:\n%s", from, block)
		}
		block = strings.ReplaceAll(block, from, to)
	}
	return block
}

func makesTokens(t *testing.T, s containertest.Service) {
	t.Helper()
	r := s.Exec(t, containertest.Command{Args: []string{"/bin/atticadm", "make-token", "--sub", "root", "--validity", "1 year", "--pull", "*"}})
	if r.Code != 0 || !strings.HasPrefix(r.Stdout, "standin.root.") {
		t.Errorf("atticadm: %+v", r)
	}
}

// No file is needed, and one that is there gives way.
func (in attic) testEnvironment(t *testing.T) {
	text := strings.Replace(example(t, "server.toml"), `url = "sqlite:///data/server.db?mode=rwc"`, "", 1)
	flags := []string{
		"--read-only", "--publish", "127.0.0.1::8080", "--volume", file(t, "[broken") + ":/attic/server.toml:ro",
		"--env", "ATTIC_SERVER_CONFIG_BASE64=" + base64.StdEncoding.EncodeToString([]byte(text)),
		"--env", "ATTIC_SERVER_DATABASE_URL=sqlite:///data/other.db?mode=rwc",
		"--env", "ATTIC_SERVER_TOKEN_HS256_SECRET_BASE64=c2VjcmV0",
	}
	s := containertest.Serve(t, in.image, flags)
	serves(t, s, "configuration: ATTIC_SERVER_CONFIG_BASE64", "signing: hs256-secret")
	makesTokens(t, s)
}

// What would be a server that forgets its secret, or has none, does not start.
func (in attic) testRefuses(t *testing.T) {
	mounted := []containertest.Mount{{Source: file(t, example(t, "server.toml")), Target: "/attic/server.toml", ReadOnly: true}}
	for name, tt := range map[string]struct {
		o    containertest.Options
		c    containertest.Command
		code int
		want string
	}{
		"no configuration":          {containertest.Options{}, containertest.Command{}, 1, "Not a directory"},
		"no configuration, as root": {containertest.Options{}, containertest.Command{User: "0"}, 1, "Not a directory"},
		"no secret":                 {containertest.Options{Mounts: mounted}, containertest.Command{}, 101, "JWT signing"},
		"a data folder of others":   {containertest.Options{Mounts: mounted, Env: []string{secret}}, containertest.Command{User: "4711"}, 1, "unable to open database file"},
		"no such mode":              {containertest.Options{}, containertest.Command{Args: []string{"--mode", "other"}}, 2, "invalid value"},
	} {
		r := in.engine.Run(t, in.image, tt.o, tt.c)
		if r.Code != tt.code || !strings.Contains(r.Stderr, tt.want) || strings.Contains(r.Stderr, "Welcome") {
			t.Errorf("%s: %+v, want exit code %d and %q", name, r, tt.code, tt.want)
		}
	}
}

// The modes that end by themselves, in the place of the command.
func (in attic) testModes(t *testing.T) {
	o := containertest.Options{ReadOnly: true, Env: []string{secret}, Mounts: []containertest.Mount{
		{Source: file(t, example(t, "server.toml")), Target: "/attic/server.toml", ReadOnly: true},
	}}
	for mode, want := range map[string]string{"check-config": "Config looks good!", "db-migrations": "Running migrations..."} {
		r := in.engine.Run(t, in.image, o, containertest.Command{Args: []string{"--mode", mode}})
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v, want %q", mode, r, want)
		}
	}
}
