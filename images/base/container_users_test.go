package base_test

import (
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// testUsers is about users that may not write to the store.
func (in inside) testUsers(t *testing.T) {
	c := in.engine.Start(t, in.image, containertest.Options{})
	checks := []check{
		{
			name:   "not root",
			script: `test "$(id -u)" != 0; for f in /etc/passwd /nix/store/x /root/x /nix/var/nix/db/db.sqlite; do touch $f 2>/dev/null || echo "no $f"; done`,
			want:   "no /etc/passwd\nno /nix/store/x\nno /root/x\nno /nix/var/nix/db/db.sqlite",
		},
		{
			name:   "tools",
			script: `command -v git nix jq export-profile; jq -n 1+1`,
			want:   "/run/profile/bin/git\n/run/profile/bin/nix\n/run/profile/bin/jq\n/run/profile/bin/export-profile\n2",
		},
		{
			name:   "git",
			script: `export HOME=/tmp/$(id -u); mkdir $HOME; cd $HOME; git init -q r; cd r; git -c user.name=a -c user.email=b commit -q --allow-empty -m m; git log --format=%s`,
			want:   "m",
		},
		{
			name:   "evaluation without a store",
			script: `NIX_REMOTE=dummy:// nix-instantiate --eval -E '(import <nixpkgs> { }).hello.pname'`,
			want:   `"hello"`,
		},
		{
			name:   "evaluation with a store of its own",
			script: `nix-instantiate --store /tmp/store-$(id -u) --eval -E '(import <nixpkgs> { }).hello.pname'`,
			want:   `"hello"`,
		},
	}
	if r := in.engine.Run(t, in.image, containertest.Options{}, containertest.Command{User: "1000", Args: []string{"pwd"}}); r.Stdout != "/root\n" {
		t.Errorf("another user in the image's folder: %+v", r)
	}
	for _, user := range []string{"1000", "nobody"} {
		t.Run(user, func(t *testing.T) {
			runChecks(t, c, containertest.Command{User: user, WorkDir: "/tmp"}, checks)
		})
	}
}

// testOwnStore is about users for whom a Nix that is not root's has been set up.
func (in inside) testOwnStore(t *testing.T) {
	t.Run("owner", func(t *testing.T) {
		c := in.engine.Start(t, in.image, in.online())
		must(t, c, containertest.Command{}, `echo app:x:1000:100::/home/app:/bin/sh >> /etc/passwd; mkdir /home/app; chown -R app /home/app /nix`)
		app := containertest.Command{User: "app", WorkDir: "/home/app", Env: []string{
			"HOME=/home/app", "PATH=/home/app/.nix-profile/bin:/run/profile/bin",
		}}
		runChecks(t, c, app, []check{
			{name: "install", script: `id -u; nix-env -f '<nixpkgs>' -iA hello && hello`, want: "1000\nHello, world!"},
			{name: "export", script: `export-profile dist; ls dist/run/profile/bin; ls dist/nix/store | grep -c hello`, want: "hello\n1"},
			{name: "build", script: `$(nix-build --no-out-link '<nixpkgs>' -A motd)/bin/motd`, want: "built where it is wanted"},
		})
	})
	t.Run("daemon", func(t *testing.T) {
		c := in.engine.Start(t, in.image, in.online())
		runChecks(t, c, containertest.Command{}, []check{{
			name: "the daemon builds as a build user, for another user",
			script: `
				echo app:x:1000:100::/home/app:/bin/sh >> /etc/passwd; mkdir /home/app; chown app /home/app
				NIX_CONFIG="$NIX_CONFIG
				build-users-group = nixbld" nix-daemon > /tmp/log 2>&1 &
				until [ -S /nix/var/nix/daemon-socket/socket ]; do kill -0 $!; done
				chroot --userspec=1000:100 / env HOME=/home/app USER=app NIX_REMOTE=daemon sh -ec '
					cd
					nix-env -f "<nixpkgs>" -iA hello
					.nix-profile/bin/hello
					cat $(nix-build --no-out-link -E "with import <nixpkgs> { }; runCommand \"who\" { } \"id -u > \$out\"")
					export-profile dist
					ls dist/run/profile/bin
				' || cat /tmp/log
				kill $!`,
			want: "Hello, world!\n30001\nhello",
		}})
	})
	t.Run("folder", func(t *testing.T) {
		c := in.engine.Start(t, in.image, in.online())
		runChecks(t, c, containertest.Command{User: "1000", WorkDir: "/tmp", Env: []string{"HOME=/tmp/home"}}, []check{{
			name: "fetch to a store in a folder",
			script: `path=$(NIX_REMOTE=dummy:// nix-instantiate --eval -E '(import <nixpkgs> { }).hello.outPath' | tr -d '"')
				nix-store --store /tmp/own --realise $path > /dev/null; ls /tmp/own$path/bin`,
			want: "hello",
		}})
	})
}
