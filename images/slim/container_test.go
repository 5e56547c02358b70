// Package slim is the image folder of the tools without nixpkgs. Its test uses an
// image of the miniature nixpkgs.
package slim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/imagetest"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

func TestContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("makes containers")
	}
	engine := containertest.Docker(t)
	p := imagetest.Publish(t, ".", "x86_64-linux")
	name := engine.Pull(t, p.Ref)
	slim := engine.Read(t, name)
	base := engine.Read(t, engine.Pull(t, imagetest.Publish(t, "../base", "x86_64-linux").Ref))
	if diff := cmp.Diff(base.Config.Labels[image.ToolsLabel], slim.Config.Labels[image.ToolsLabel]); diff != "" {
		t.Errorf("the tools are not those of base (-base +slim):\n%s", diff)
	}
	t.Logf("files: %d bytes in %d, base has %d bytes in %d", slim.Size, len(slim.Files), base.Size, len(base.Files))
	if slim.Size >= base.Size {
		t.Errorf("it has %d bytes, base has %d", slim.Size, base.Size)
	}
	noNixpkgs(t, slim)

	server, err := p.Fixture.Start(t.Context(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	online := containertest.Options{HostNetwork: true, Env: []string{
		"NIX_CONFIG=substituters = " + server.Cache() + "\ntrusted-public-keys = " + server.PublicKey(),
		"NIXPKGS=" + server.Archive() + "/" + standin.Repository + "/archive/" + p.Rev + ".tar.gz",
	}}
	c := engine.Start(t, name, online)
	for _, tt := range []struct{ name, script, want string }{
		{"the database knows the store", `nix-store --verify --check-contents && nix-collect-garbage > /dev/null 2>&1 && jq -n 1`, "1"},
		{"nothing is said of nixpkgs", `echo "${NIX_PATH-none}"; ls -A /root/.nix-defexpr 2> /dev/null; nix registry list | grep -c 'flake:nixpkgs '`, "none\n1"},
		{"a bare nixpkgs is the one of the global registry", `nix registry list | grep 'flake:nixpkgs '`, "global flake:nixpkgs github:NixOS/nixpkgs/nixpkgs-unstable"},
		{"a login shell", `env -i HOME=/root bash -lc 'echo "${NIX_PATH-none} $SSL_CERT_FILE"'`, "none /etc/ssl/certs/ca-bundle.crt"},
		{"what is fetched is installed and exported", `nix-env -f "$NIXPKGS" -iA hello 2> /dev/null; export-profile /dist; chroot /dist /nix/profile/bin/hello; ls /dist/nix/store | grep -c -- -source`, "Hello, world!\n0"},
	} {
		r := c.Exec(t, containertest.Shell(tt.script))
		if got := strings.TrimSpace(r.Stdout); got != tt.want {
			t.Errorf("%s: exit code %d, %q, want %q\n%s", tt.name, r.Code, got, tt.want, r.Stderr)
		}
	}
	// Another user reads what there is, as in base.
	user := containertest.Command{User: "1000", Args: []string{"nix", "eval", "--impure", "--raw", "--expr", "builtins.nixVersion"}}
	if r := engine.Run(t, name, containertest.Options{ReadOnly: true, Tmpfs: []string{"/tmp"}}, user); r.Code != 0 || r.Stdout == "" {
		t.Errorf("another user: %+v", r)
	}
}

// noNixpkgs looks for nixpkgs, and for what would lead to one.
func noNixpkgs(t *testing.T, c containertest.Contents) {
	t.Helper()
	for _, f := range c.Files {
		if strings.HasSuffix(f.Path, "-nixpkgs-src") || strings.HasSuffix(f.Path, "-source") || strings.Contains(f.Target, "-nixpkgs-src") || strings.Contains(f.Target, "/var/empty") {
			t.Errorf("%s %s is in the image", f.Path, f.Target)
		}
	}
	for _, variable := range c.Config.Env {
		if strings.HasPrefix(variable, "NIX_PATH=") {
			t.Errorf("%s is set", variable)
		}
	}
	for _, name := range []string{"/nix/var/nix/db/db.sqlite", "/etc/nix/nix.conf", "/nix/profile/bin/export-profile", "/nix/profile/bin/nix"} {
		if _, ok := c.Find(name); !ok {
			t.Errorf("%s is not there", name)
		}
	}
}
