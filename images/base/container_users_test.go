package base_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// lookUps are what Nix does without writing to the store.
var lookUps = []check{
	{name: "evaluation", script: `nix-instantiate --eval -E '(import <nixpkgs> { }).hello.pname'`, want: `"hello"`},
	{name: "evaluation of a flake", script: `nix eval --raw nixpkgs#hello.pname`, want: "hello"},
	{name: "a path that is not built", script: `nix-instantiate --eval -E '(import <nixpkgs> { }).hello.outPath'`, like: `^"/nix/store/[0-9a-z]{32}-hello-[0-9.]+"$`},
	{name: "nix-env's names", script: `nix-env -qaP hello`, like: `^nixpkgs\.hello +hello-`},
	{name: "what a tool needs", script: `nix-store -qR $(readlink -f /nix/profile/bin/jq | cut -d/ -f1-4) | grep -c -- -jq-`, want: "1"},
	{name: "where nixpkgs is", script: `nix flake metadata --json nixpkgs | jq -r .path`, like: `^/nix/store/[0-9a-z]{32}-source$`},
	{name: "what is said of a path", script: `nix path-info --json $(readlink -f /nix/profile/bin/jq | cut -d/ -f1-4) | jq -r '.[].signatures | length'`, want: "1"},
}

// testReadOnly is about containers whose files cannot be changed.
func (in inside) testReadOnly(t *testing.T) {
	if in.engine.String() != "docker" {
		return // which is the one engine here that has them
	}
	for name, tmpfs := range map[string][]string{"at all": nil, "but for some folders": {"/tmp", "/run"}} {
		t.Run(name, func(t *testing.T) {
			c := in.engine.Start(t, in.image, containertest.Options{ReadOnly: true, Tmpfs: tmpfs})
			runChecks(t, c, containertest.Command{User: "1000"}, lookUps)
		})
	}
}

// testCoveredRun is about runtimes that mount something over /run.
func (in inside) testCoveredRun(t *testing.T) {
	c := in.engine.Start(t, in.image, containertest.Options{Tmpfs: []string{"/run"}})
	runChecks(t, c, containertest.Command{}, []check{
		{name: "it is covered", script: `ls /run/profile 2>/dev/null || echo gone`, want: "gone"},
		{name: "tools", script: `nix-store --version > /dev/null; jq -n 1; export-profile --help | head -n 1; echo paged | "$PAGER"`,
			want: "1\nusage: export-profile [--profile P] ROOT [STORE-PATH…]\npaged"},
		{name: "install and export", script: `nix-env -iA nixpkgs.jq; export-profile /tmp/dist; chroot /tmp/dist /nix/profile/bin/jq -n 2`, want: "2"},
	})
}

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
			want:   "/nix/profile/bin/git\n/nix/profile/bin/nix\n/nix/profile/bin/jq\n/nix/profile/bin/export-profile\n2",
		},
		{
			name:   "git",
			script: `export HOME=/tmp/$(id -u); mkdir $HOME; cd $HOME; git init -q r; cd r; git -c user.name=a -c user.email=b commit -q --allow-empty -m m; git log --format=%s`,
			want:   "m",
		},
		{name: "no name of another's", script: `echo "${USER-none}"`, want: "none"},
		{name: "a folder to look around in", script: `cd /root; ls > /dev/null`},
		{name: "the store stays as it is", script: `find /nix -newer /proc/1/cmdline ! -path '/nix/var/nix/daemon-socket*' 2>/dev/null`},
	}
	checks = append(checks, lookUps...)
	checks = append(checks,
		check{
			name:   "evaluation without a store",
			script: `NIX_REMOTE=dummy:// nix-instantiate --eval -E '(import <nixpkgs> { }).hello.pname'`,
			want:   `"hello"`,
		},
		check{
			name:   "evaluation with a store of its own",
			script: `nix-instantiate --store /tmp/store-$(id -u) --eval -E '(import <nixpkgs> { }).hello.pname'`,
			want:   `"hello"`,
		},
		check{name: "installing is refused", script: `nix-env -iA nixpkgs.jq > /tmp/said-$(id -u) 2>&1 || grep -o 'Permission denied' /tmp/said-$(id -u) | head -n 1`, want: "Permission denied"},
	)
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
		must(t, c, containertest.Command{}, ownStore(t))
		app := containertest.Command{User: "app", WorkDir: "/home/app", Env: []string{"HOME=/home/app"}}
		runChecks(t, c, app, []check{
			{name: "install", script: `id -u; nix-env -iA nixpkgs.hello && hello`, want: "1000\nHello, world!"},
			{name: "the profile is on the search path", script: `command -v hello; readlink ~/.nix-profile`,
				want: "/root/.nix-profile/bin/hello\n/nix/var/nix/profiles/default"},
			{name: "nothing was copied", script: `test -O /nix/store; find /nix/store -mindepth 2 -user app | cut -d/ -f4 | grep -v -e hello -e user-environment -e links | head -n 3`},
			{name: "whole", script: `nix-collect-garbage -d > /dev/null 2>&1; nix-store --verify --check-contents && hello`, want: "Hello, world!"},
			{name: "export", script: `export-profile dist; ls dist/nix/profile/bin; ls dist/nix/store | grep -c hello`, want: "hello\n1"},
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
					nix-env -iA nixpkgs.hello
					.nix-profile/bin/hello
					cat $(nix-build --no-out-link -E "with import <nixpkgs> { }; runCommand \"who\" { } \"id -u > \$out\"")
					export-profile dist
					ls dist/nix/profile/bin
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

// ownStore is the recipe of README.md for a user who installs.
func ownStore(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile(`(?ms)^ *RUN (echo app:.*?/nix/var)$`).FindSubmatch(text)
	if recipe == nil {
		t.Fatal("README.md has no recipe for a user who installs")
	}
	return string(recipe[1])
}
