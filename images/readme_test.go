package images

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/imagetest"
)

// examples are the expressions of README.md.
func examples(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?s)```nix\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	if len(all) != 2 {
		t.Fatalf("README.md has %d expressions, want one for a folder of its own and one for a folder that builds on base", len(all))
	}
	return all
}

func write(t *testing.T, text string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "image.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// A folder with nothing but the ten lines of README.md is an image.
func TestTenLines(t *testing.T) {
	t.Parallel()
	text := examples(t)[0]
	if n := strings.Count(text, "\n"); n != 10 {
		t.Errorf("it has %d lines", n)
	}
	engine := containertest.Docker(t)
	image := engine.Pull(t, imagetest.Publish(t, write(t, text), "x86_64-linux").Ref)
	o := containertest.Options{ReadOnly: true}
	if r := engine.Run(t, image, o, containertest.Command{Args: []string{"-n", "1 + 1"}}); r.Code != 0 || r.Stdout != "2\n" {
		t.Errorf("docker run: %+v", r)
	}
	contents := engine.Read(t, image)
	for _, name := range []string{"/etc/ssl/certs/ca-bundle.crt", "/bin/sh", "/nix/var/nix/db/db.sqlite"} {
		if _, ok := contents.Find(name); ok {
			t.Errorf("the image has %s", name)
		}
	}
	if _, ok := contents.Find("/nix/profile/etc/ssl/certs/ca-bundle.crt"); !ok || contents.Config.User != "1000:1000" {
		t.Errorf("the image has no certificates, or another user: %q", contents.Config.User)
	}
}

// The folder that builds on base has what base has.
func TestOnAnother(t *testing.T) {
	t.Parallel()
	folder := write(t, examples(t)[1])
	base, err := filepath.Abs("base")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, filepath.Join(folder, "base")); err != nil {
		t.Fatal(err)
	}
	engine := containertest.Docker(t)
	image := engine.Pull(t, imagetest.Publish(t, folder, "x86_64-linux").Ref)
	if r := engine.Run(t, image, containertest.Options{}, containertest.Command{Stdin: "1 + 1\n"}); r.Code != 0 || !strings.Contains(r.Stdout, "2") {
		t.Errorf("docker run: %+v", r)
	}
	r := engine.Run(t, image, containertest.Options{}, containertest.Shell("export-profile --help | head -n 1; cat /etc/nsswitch.conf"))
	if r.Code != 0 || !strings.HasPrefix(r.Stdout, "usage: export-profile") || !strings.Contains(r.Stdout, "hosts:") {
		t.Errorf("what base installs: %+v", r)
	}
}
