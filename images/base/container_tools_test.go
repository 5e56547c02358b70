package base_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// toolChecks use every tool of the image; their names are those of the packages
// in the miniature nixpkgs.
var toolChecks = []check{
	{name: "nix", script: `nix --version; nix-env --version; nix-build --version; nix-shell --version; nix-store --version`,
		like: `^nix \(Nix\) [0-9.]+\nnix-env \(Nix\) [0-9.]+\nnix-build .*\nnix-shell .*\nnix-store .*$`},
	{name: "bash-interactive", script: `bash --version | head -n 1; bash -c 'a=(1 2); echo ${#a[@]}'`, like: `^GNU bash.*\n2$`},
	{
		name:   "coreutils",
		script: `ls --version | head -n 1; printf 'b\na\n' | sort | tr '\n' ' '; nproc > /dev/null; date -u -d @0 +%F`,
		like:   `^ls \(GNU coreutils\).*\na b 1970-01-01$`,
	},
	{name: "findutils", script: `cd /etc/nix; find . -name 'nix.*' | xargs -n 1 basename`, want: "nix.conf"},
	{name: "nss-cacert", script: `test "$(readlink -f /nix/profile/etc/ssl/certs/ca-bundle.crt)" = "$(readlink -f "$NIX_SSL_CERT_FILE")"`},
	{name: "gnutar", script: `cd /tmp; echo 1 > f; tar -czf f.tgz f; tar -xzOf f.tgz`, want: "1"},
	{name: "gzip", script: `echo packed | gzip | gunzip; echo packed | gzip | zcat`, want: "packed\npacked"},
	{name: "cachix", script: `cachix --version`, like: `^cachix [0-9.]+ \(a stand-in`},
	{name: "attic-client", script: `attic --version`, like: `^attic [0-9.]+ \(a stand-in`},
	{
		name:   "git-minimal",
		script: `cd /tmp; git init -q r; cd r; echo 1 > f; git add f; git -c user.name=a -c user.email=b commit -qm m; git clone -q file:///tmp/r c; cat c/f`,
		want:   "1",
	},
	{
		name:   "openssh",
		script: `ssh -V 2>&1; ssh-keygen -q -t ed25519 -N '' -f /tmp/key; head -n 1 /tmp/key`,
		like:   `^OpenSSH_.*\n-----BEGIN OPENSSH PRIVATE KEY-----$`,
	},
	{
		name:   "curl",
		script: `echo local > /tmp/local; curl -s file:///tmp/local; curl --version | grep -o '^Protocols:.* https '`,
		like:   `^local\nProtocols: .* https $`,
	},
	{name: "xz", script: `echo packed | xz | xzcat`, want: "packed"},
	{name: "zstd", script: `echo packed | zstd -q | zstdcat`, want: "packed"},
	{name: "gnused", script: `echo abc | sed 's/b/x/'`, want: "axc"},
	{name: "gnugrep", script: `echo abc | grep -o '[bx]'; echo abc | grep -E 'x|y' || echo none`, want: "b\nnone"},
	{name: "jq", script: `echo '{"a":[1,2]}' | jq -c .a`, want: "[1,2]"},
	{name: "less", script: `less --version | head -n 1; echo paged | less`, like: `^less [0-9]+.*\npaged$`},
	{
		name:   "tmate",
		script: `tmate -V; tmate -S /tmp/socket new-session -d; tmate -S /tmp/socket list-sessions | wc -l; tmate -S /tmp/socket kill-server`,
		like:   `^tmate [0-9.]+\n1$`,
	},
	{
		name:   "nix-ld",
		script: `/opt/hello --greeting=started; /opt/patchelf --version; NIX_LD_LIBRARY_PATH=/nowhere /opt/patchelf 2>/dev/null || echo $?`,
		like:   `^started\npatchelf [0-9.]+\n127$`,
	},
}

// ownChecks are about the scripts of the image.
var ownChecks = []check{
	{name: "they are scripts of this image", script: `for p in export-profile start-tmate bash-tmate; do command -v $p; $p --help | head -n 1; done`,
		want: "/nix/profile/bin/export-profile\nusage: export-profile [--profile P] ROOT [STORE-PATH…]\n" +
			"/nix/profile/bin/start-tmate\nusage: start-tmate [maxIdle]\n/nix/profile/bin/bash-tmate\nusage: bash-tmate [argument of bash]…"},
	{name: "bash-tmate does what bash does", script: `bash-tmate -c true; bash-tmate -c 'echo "$0 $1"' a b`, want: "a b"},
	{name: "bash-tmate keeps the exit code", script: `mkdir /tmp/bin; printf '#!/bin/sh\nshift; exec /nix/profile/bin/timeout 1 "$@"\n' > /tmp/bin/timeout; chmod +x /tmp/bin/timeout
		PATH=/tmp/bin:$PATH bash-tmate -c 'exit 7' 2> /tmp/said || echo $?
		grep -o "bash-tmate: exit code 7, opening a session" /tmp/said; grep -o "tmate's server was not reached" /tmp/said`,
		want: "7\nbash-tmate: exit code 7, opening a session\ntmate's server was not reached"},
	{
		name:   "no session is left",
		script: `for p in /proc/[0-9]*; do test "$(cat $p/comm 2>/dev/null)" != tmate || echo "$p runs tmate"; done`,
	},
	{name: "nothing to export", script: `export-profile /tmp/root || echo $?; test ! -e /tmp/root`, want: "1"},
}

// testTools runs every tool. The last one, nix-ld, has programs of this machine
// to run: a C program and one in C++, which needs libstdc++ as node does.
func (in inside) testTools(t *testing.T) {
	c := in.engine.Start(t, in.image, containertest.Options{Mounts: foreignPrograms(t, "/opt")})
	runChecks(t, c, containertest.Command{}, toolChecks)
	runChecks(t, c, containertest.Command{}, ownChecks)

	var names, checked []string
	for _, tool := range in.tools(t) {
		names = append(names, tool.Name)
	}
	for _, c := range toolChecks {
		checked = append(checked, c.name)
	}
	slices.Sort(checked)
	if diff := cmp.Diff(checked, names); diff != "" {
		t.Errorf("tools that are checked, and those of the image (-checked +image):\n%s", diff)
	}
	if out := must(t, c, containertest.Command{}, `for f in /nix/profile/bin/*; do test -x "$f" || echo "$f"; done; ls /nix/profile/bin | wc -l`); len(out) != 1 {
		t.Errorf("these cannot be run: %q", out)
	}
}

// foreignPrograms are mounts of programs that were not made for Nix.
func foreignPrograms(t *testing.T, dir string) []containertest.Mount {
	t.Helper()
	var mounts []containertest.Mount
	for _, name := range []string{"hello", "patchelf"} {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("patchelf", "--print-interpreter", file).Output()
		if err != nil || strings.TrimSpace(string(out)) != "/lib64/ld-linux-x86-64.so.2" {
			t.Fatalf("%s wants the loader %q (%v)", file, out, err)
		}
		mounts = append(mounts, containertest.Mount{Source: file, Target: dir + "/" + name, ReadOnly: true})
	}
	return mounts
}
