package base_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("there is no shellcheck here: apt-get install shellcheck")
	}
	scripts, err := filepath.Glob("bin/*")
	if err != nil || len(scripts) != 3 {
		t.Fatalf("bin has %q, %v", scripts, err)
	}
	for _, args := range [][]string{append([]string{"--severity=style"}, scripts...), {"--shell=sh", "rootfs/etc/profile", "rootfs/etc/bashrc"}, {"rootfs/nix/var/nix/factory/any-user.sh"}} {
		if out, err := exec.Command(shellcheck, args...).CombinedOutput(); err != nil {
			t.Errorf("shellcheck %q: %v\n%s", args, err, out)
		}
	}
}

func TestScriptsAreExecutable(t *testing.T) {
	for _, name := range []string{"export-profile", "start-tmate", "bash-tmate"} {
		info, err := os.Stat(filepath.Join("bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o111 != 0o111 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// fields reads a file like /etc/passwd: name to the fields after it.
func fields(t *testing.T, name string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("rootfs/etc", name))
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		parts := strings.Split(line, ":")
		if _, ok := entries[parts[0]]; ok {
			t.Errorf("%s: %s stands there twice", name, parts[0])
		}
		entries[parts[0]] = parts[1:]
	}
	return entries
}

func TestUsers(t *testing.T) {
	users, groups, shadow := fields(t, "passwd"), fields(t, "group"), fields(t, "shadow")
	groupIDs := map[string]bool{}
	for name, g := range groups {
		if len(g) != 3 || groupIDs[g[1]] {
			t.Errorf("group %s: %q, or the same number as another", name, g)
		}
		groupIDs[g[1]] = true
	}
	ids := map[string]bool{}
	for name, u := range users {
		if len(u) != 6 || ids[u[1]] || !groupIDs[u[2]] {
			t.Errorf("user %s: %q, or the same number as another, or an unknown group", name, u)
		}
		ids[u[1]] = true
		if s := shadow[name]; len(s) != 8 || s[0] != "*" {
			t.Errorf("shadow of %s: %q, want no password", name, s)
		}
	}
	if len(shadow) != len(users) {
		t.Errorf("%d users, %d of them in shadow", len(users), len(shadow))
	}
	for name, id := range map[string]string{"root": "0", "nobody": "65534", "nixbld1": "30001"} {
		if u := users[name]; u == nil || u[1] != id {
			t.Errorf("user %s: %q, want number %s", name, u, id)
		}
	}
	// the daemon takes build users from the members of the group
	members := strings.Split(groups["nixbld"][2], ",")
	if len(members) < 64 {
		t.Errorf("%d build users, want one for each core of large machines", len(members))
	}
	for i, m := range members {
		if want := fmt.Sprintf("nixbld%d", i+1); m != want || users[m] == nil || users[m][2] != groups["nixbld"][1] {
			t.Errorf("build user %s, want %s, with a user of that name and group", m, want)
		}
	}
}

// The C library and Nix read the files as they are meant.
func TestFilesOfEtc(t *testing.T) {
	s := newSandbox(t)
	for _, tt := range []struct{ run, want string }{
		{`getent passwd root`, "root:x:0:0:System administrator:/root:/bin/bash"},
		{`getent passwd nixbld64 | cut -d: -f1,3,4`, "nixbld64:30064:30000"},
		{`getent group nogroup`, "nogroup:x:65534:"},
		{`getent hosts localhost | tr -s ' '`, "::1 localhost ip6-localhost ip6-loopback"},
		{`getent services https/tcp | tr -s ' '`, "https 443/tcp"},
		{`getent services domain/udp | tr -s ' '`, "domain 53/udp"},
		{`getent protocols tcp | tr -s ' '`, "tcp 6 TCP"},
		{`getent protocols ipv6-icmp | tr -s ' '`, "ipv6-icmp 58 IPv6-ICMP"},
		{`nix show-config 2>&1 | grep -E 'unknown|^(build-users-group|sandbox|filter-syscalls|experimental-features|flake-registry) =' | sed 's/ *$//'`,
			"build-users-group =\nexperimental-features = flakes nix-command\nfilter-syscalls = false\nflake-registry = /etc/nix/flake-registry.json\nsandbox = false"},
		{`[ $(nix show-config | sed -n 's/^max-jobs = //p') = $(nproc) ] && echo same`, "same"},
	} {
		if got := s.must(tt.run); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.run, got, tt.want)
		}
	}
}

func TestGitTakesFoldersOfOthers(t *testing.T) {
	needRoot(t)
	s := newSandbox(t)
	s.must(`git init -q repo; chown -R 1001:1001 repo; git -C repo status`)
}

func TestLoginShell(t *testing.T) {
	_, rev, dir := miniature(t)
	args := arguments(t, dir, "x86_64-linux", rev)
	set, err := evaluate(t, args)
	if err != nil {
		t.Fatal(err)
	}
	s := newSandbox(t)
	s.must(`mkdir -p /etc/profile.d; ln -s /usr/bin/env /usr/bin/true /nix/profile/bin/ 2>/dev/null || true`)
	s.write("etc/profile.d/nix.sh", set.Files["/etc/profile.d/nix.sh"])
	tests := []struct{ name, run, want string }{
		{"PATH", `env -i HOME=/home/dev PATH=/usr/bin:/bin bash -lc 'echo $PATH'`,
			"/home/dev/.nix-profile/bin:/nix/var/nix/profiles/default/bin:/nix/profile/bin:/usr/bin:/bin"},
		{"the PATH of the image stays", `env -i HOME=/root PATH=/mine:/nix/profile/bin:/bin bash -lc 'echo $PATH'`, "/mine:/nix/profile/bin:/bin"},
		{"variables", `env -i HOME=/root bash -lc 'echo $NIX_PATH $NIX_LD $SSL_CERT_FILE'`,
			set.Env["NIX_PATH"] + " " + set.Env["NIX_LD"] + " " + set.Env["SSL_CERT_FILE"]},
		{"variables that are set stay", `env -i HOME=/root NIX_PATH=mine NIX_SSL_CERT_FILE= bash -lc 'echo "$NIX_PATH-$NIX_SSL_CERT_FILE-"'`, "mine--"},
		{"programs see them", `env -i HOME=/root bash -lc 'env' | cut -d= -f1 | grep -E '^(NIX_|MANPATH|PAGER|SSL)' | sort | tr '\n' ' '`,
			"MANPATH NIX_BUILD_SHELL NIX_LD NIX_LD_LIBRARY_PATH NIX_PATH NIX_SSL_CERT_FILE PAGER SSL_CERT_FILE "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, s.must(tt.run)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
