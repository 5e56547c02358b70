package base_test

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// ownScripts are the programs that are no package's, or start one of those.
var ownScripts = []string{"bash-tmate", "cachix", "export-profile", "nix", "start-tmate"}

// testContents is about the image itself, then about the first look around in it.
func (in inside) testContents(t *testing.T) {
	t.Run("links", in.testProfileLinks)
	t.Run("etc", in.testEtc)
	t.Run("folders", in.testFolders)
	t.Run("command", func(t *testing.T) {
		r := in.engine.Run(t, in.image, containertest.Options{}, containertest.Command{Args: in.contents.Config.Cmd, Stdin: "echo $((1 + 1)); exit 5"})
		if r.Code != 5 || r.Stdout != "2\n" {
			t.Errorf("%q: %+v", in.contents.Config.Cmd, r)
		}
	})
	runChecks(t, in.engine.Start(t, in.image, containertest.Options{}), containertest.Command{}, in.contentChecks())
}

// testProfileLinks: /nix/profile has real folders only, and links to files that are there.
func (in inside) testProfileLinks(t *testing.T) {
	var scripts []string
	links := 0
	for _, f := range in.contents.Below("/nix/profile") {
		switch f.Mode.Type() {
		case fs.ModeDir:
		case fs.ModeSymlink:
			links++
			if strings.HasPrefix(f.Path, "/nix/profile/bin/nix-") && f.Target == "nix" {
				continue
			}
			if _, err := nix.ParseStorePath(strings.Join(strings.Split(f.Target, "/")[:4], "/")); err != nil {
				t.Errorf("%s leads to %s", f.Path, f.Target)
			} else if target, ok := in.contents.Find(f.Target); !ok || target.Mode.IsDir() {
				t.Errorf("%s leads to %s, which is there: %v, a folder: %v", f.Path, f.Target, ok, target.Mode.IsDir())
			}
		default:
			if f.Mode != 0o755 {
				t.Errorf("%s has mode %v", f.Path, f.Mode)
			}
			scripts = append(scripts, path.Base(f.Path))
		}
	}
	if diff := cmp.Diff(ownScripts, scripts); diff != "" {
		t.Errorf("files that are no links (-want +got):\n%s", diff)
	}
	if links < 100 {
		t.Errorf("only %d links", links)
	}
}

// testEtc: /etc is a folder of files that can be written to, and the only links
// are those for certificates.
func (in inside) testEtc(t *testing.T) {
	var files, links []string
	for _, f := range in.contents.Below("/etc") {
		switch f.Mode.Type() {
		case fs.ModeDir:
		case fs.ModeSymlink:
			links = append(links, f.Path)
		default:
			files = append(files, f.Path)
			if f.Mode != 0o644 && (f.Path != "/etc/shadow" || f.Mode != 0o640) {
				t.Errorf("%s has mode %v", f.Path, f.Mode)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(certificateLinks)), links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for _, name := range []string{
		"/etc/gitconfig", "/etc/group", "/etc/nix/flake-registry.json", "/etc/nix/nix.conf", "/etc/nix/registry.json",
		"/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/shadow",
	} {
		if !slices.Contains(files, name) {
			t.Errorf("there is no file %s", name)
		}
	}
}

var certificateLinks = []string{
	"/etc/ssl/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt",
}

func (in inside) testFolders(t *testing.T) {
	modes := map[string]fs.FileMode{
		"/bin": 0o755, "/etc": 0o755, "/home": 0o755, "/nix": 0o755, "/nix/store": 0o755, "/nix/var/nix/db": 0o755,
		"/nix/var/nix/profiles": 0o755, "/nix/store/.links": 0o755, "/root": 0o755, "/run": 0o755, "/nix/profile": 0o755, "/nix/profile/bin": 0o755,
		"/tmp": fs.ModeSticky | 0o777, "/usr/bin": 0o755, "/var/tmp": fs.ModeSticky | 0o777,
	}
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		f, ok := in.contents.Find(name)
		if !ok || f.Mode != fs.ModeDir|modes[name] {
			t.Errorf("%s is %v (there: %v), want a folder of mode %v", name, f.Mode, ok, modes[name])
		}
	}
	// What the factory leaves empty, and what a running Nix would have put there.
	var inside []string
	for _, dir := range []string{"/nix/var/nix/profiles", "/nix/var/nix/db", "/tmp", "/var/tmp", "/home"} {
		for _, f := range in.contents.Below(dir) {
			inside = append(inside, f.Path)
		}
	}
	const channels = "/nix/var/nix/profiles/per-user"
	if diff := cmp.Diff([]string{channels, channels + "/root", channels + "/root/channels", "/nix/var/nix/db/db.sqlite", "/nix/var/nix/db/schema"}, inside); diff != "" {
		t.Errorf("in folders that are otherwise empty (-want +got):\n%s", diff)
	}
	for _, f := range in.contents.Files {
		if f.UID != 0 || f.GID != 0 {
			t.Errorf("%s belongs to %d:%d", f.Path, f.UID, f.GID)
		}
	}
}

func (in inside) contentChecks() []check {
	const profiles = "/root/.nix-profile/bin:/nix/var/nix/profiles/default/bin:/nix/profile/bin"
	const searchPath = profiles + ":/usr/local/bin:/usr/bin:/bin"
	return []check{
		{name: "who and where", script: `id -u; id -un; pwd; echo "$HOME $USER"`, want: "0\nroot\n/root\n/root "},
		{name: "modes", script: `stat -c '%a %u:%g %F' /tmp /var/tmp /root /nix/profile /etc`,
			want: "1777 0:0 directory\n1777 0:0 directory\n755 0:0 directory\n755 0:0 directory\n755 0:0 directory"},
		{
			name:   "tmp is for everybody",
			script: `touch /tmp/a /var/tmp/a; chroot --userspec=1000:1000 / sh -ec 'touch /tmp/b /var/tmp/b; rm -f /tmp/a 2>/dev/null || echo kept'`,
			want:   "kept",
		},
		{name: "default profile", script: `readlink /root/.nix-profile; test ! -e /root/.nix-profile && ls -A /nix/var/nix/profiles`,
			want: "/nix/var/nix/profiles/default\nper-user"},
		{name: "where the tools were before", script: `readlink /run/profile; PATH=/run/profile/bin; jq -n 1`, want: "../nix/profile\n1"},
		{name: "programs by absolute paths", script: `/bin/echo a; echo b | /bin/cat; /usr/bin/mkfifo /tmp/fifo && test -p /tmp/fifo
			printf '#!/bin/bash\nx=(c); echo ${x[0]}\n' > /tmp/array; chmod +x /tmp/array; /tmp/array`, want: "a\nb\nc"},
		{name: "a name for shells that one types into", script: `echo 'echo $USER' | bash --rcfile /etc/bashrc -i 2>/dev/null; bash -lc 'echo $USER'`, want: "root\nroot"},
		{name: "search path", script: `echo "$PATH"`, want: searchPath},
		{name: "search path of a login shell", script: `env -i /nix/profile/bin/bash -lc 'echo "$PATH"; command -v nix; echo "$NIX_PATH"'`,
			like: `^` + profiles + `.*\n/nix/profile/bin/nix\nnixpkgs=/nix/store/\S+-nixpkgs-src$`},
		{name: "a login shell keeps the search path", script: `bash -lc 'echo "$PATH"'`, want: searchPath},
		{name: "bin/sh", script: `/bin/sh -c 'echo "$0 $1"' a b`, want: "a b"},
		{
			name:   "usr/bin/env",
			script: `printf '#!/usr/bin/env bash\necho by "${BASH_VERSINFO:+bash}"\n' > /tmp/script; chmod +x /tmp/script; /tmp/script`,
			want:   "by bash",
		},
		{name: "pager", script: `echo paged | "$PAGER"`, want: "paged"},
		{name: "no library path for all", script: `echo "${LD_LIBRARY_PATH-unset}"`, want: "unset"},
		{
			name:   "store paths in variables",
			script: `paths=$(env | grep -o '/nix/store/[0-9a-z]*-[^/:]*' | sort -u); echo "$paths" | wc -l; nix-store --check-validity $paths`,
			want:   "4",
		},
		{
			name:   "files in variables",
			script: `for f in "$NIX_SSL_CERT_FILE" "$SSL_CERT_FILE" "$NIX_BUILD_SHELL" "$PAGER" "$NIX_LD" "${NIX_PATH#nixpkgs=}/default.nix"; do test -s "$f" || echo "no $f"; done`,
		},
		{
			name:   "users",
			script: `id -u nixbld1 nixbld32 nobody; id -g nixbld1; groups nixbld1`,
			want:   "30001\n30032\n65534\n30000\nnixbld1 : nixbld",
		},
		{
			name:   "shells and home folders of users",
			script: `cut -d: -f6,7 /etc/passwd | sort -u | while IFS=: read -r home shell; do test -d "$home" && test -x "$shell" && echo "$home"; done`,
			want:   "/root\n/var/empty",
		},
		{name: "name service", script: `grep -E '^(passwd|hosts):' /etc/nsswitch.conf`, want: "passwd:    files\nhosts:     files dns"},
		{name: "a user more", script: `echo me:x:1000:100::/home/me:/bin/sh >> /etc/passwd; id -un 1000; id -gn 1000`, want: "me\nusers"},
		{
			name:   "os-release",
			script: `. /etc/os-release; echo "$NAME $ID $VERSION_ID $VARIANT_ID $BUILD_ID"`,
			want:   "Nixpkgs nixpkgs 26.05 " + in.channel + " " + in.rev,
		},
		{
			name:   "certificates",
			script: `for f in ` + strings.Join(certificateLinks, " ") + `; do readlink -f $f; grep -c BEGIN $f; done | sort -u`,
			like:   `^/nix/store/[^/]+-nss-cacert-[^/]+/etc/ssl/certs/ca-bundle.crt\n[1-9][0-9]{2}$`,
		},
		{name: "git's settings", script: `git config --system --get-all safe.directory`, want: "*"},
		{
			name:   "settings of Nix",
			script: `nix show-config | grep -E '^(build-users-group|sandbox|filter-syscalls|experimental-features|flake-registry) '`,
			want:   "build-users-group = \nexperimental-features = flakes nix-command\nfilter-syscalls = false\nflake-registry = /etc/nix/flake-registry.json\nsandbox = false",
		},
		{name: "as many jobs as there are processors", script: `test "$(nix show-config | sed -n 's/^max-jobs = //p')" = "$(nproc)"`},
		{name: "loader", script: `readlink -f /lib64/ld-linux-x86-64.so.2`, like: `^/nix/store/[^/]+-nix-ld-[^/]+/libexec/nix-ld$`},
		{
			name:   "what the image says of itself",
			script: `jq -r '.channel, .rev, .system, (.missing | length), (.tools | length), (.sources | length)' /nix/var/nix/factory/image.json`,
			want:   in.channel + "\n" + in.rev + "\nx86_64-linux\n0\n20\n2",
		},
	}
}
