package standin

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// enter is a shell script that runs a command in a folder as the root of everything.
const enter = `set -eu
root=$1
shift
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
exec chroot "$root" "$@"`

// A jail is a folder with a Nix store, and nothing else to run.
type jail struct {
	root    string
	outputs map[string][]string
	env     []string
}

func newJail(t *testing.T, s *Server, change string) jail {
	t.Helper()
	f := s.fixture
	c := f.Commit(change)
	j := jail{root: t.TempDir(), outputs: f.Outputs(c.Rev, Systems[0])}
	t.Cleanup(func() { removeAll(j.root) })
	var paths, path []string
	for _, name := range []string{
		"bashInteractive", "coreutils", "nix", "gitMinimal", "findutils", "diffutils", "gnused", "gnugrep", "gnutar", "gzip",
		"xz", "zstd", "openssh", "curl", "less", "jq", "tmate", "hello", "cachix", "attic-client", "cacert", "nix-ld", "gcc-unwrapped",
	} {
		if j.outputs[name] == nil {
			t.Fatalf("%s has no %s", change, name)
		}
		paths = append(paths, j.outputs[name]...)
		path = append(path, j.outputs[name][0]+"/bin")
	}
	if err := substitute(t, s, j.root, s.PublicKey(), paths); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"dev", "proc", "tmp", "etc", "root", "lib64", "nixpkgs", "opt"} {
		if err := os.MkdirAll(filepath.Join(j.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, command{name: "tar", args: []string{"--extract", "--file", f.ArchiveFile(c.Rev), "--directory", j.root + "/nixpkgs", "--strip-components=1"}})
	j.write(t, "etc/passwd", "root:x:0:0::/root:/none\n")
	j.env = []string{
		"PATH=" + strings.Join(path, ":"), "HOME=/root", "NIX_PATH=nixpkgs=/nixpkgs",
		"NIX_CONFIG=build-users-group =\nsandbox = false\nsubstituters =",
		"NIX_LD=" + j.outputs["glibc"][0] + "/lib/ld-linux-x86-64.so.2",
		"NIX_LD_LIBRARY_PATH=" + j.outputs["gcc-unwrapped"][0] + "/lib",
	}
	return j
}

func (j jail) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(j.root, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// run runs a script with the store's bash, and nothing outside the jail.
func (j jail) run(t *testing.T, script string) (string, error) {
	t.Helper()
	args := []string{"--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	args = append(args, "sh", "-c", enter, "enter", j.root, "/bin/env", "-i")
	args = append(args, j.env...)
	out, err := command{name: "unshare", args: append(args, j.outputs["bashInteractive"][0]+"/bin/bash", "-euc", script)}.run(t.Context())
	return strings.TrimSpace(string(out)), err
}

// TestPackagesRun starts a program of every package where there is no Debian.
func TestPackagesRun(t *testing.T) {
	j := newJail(t, testServer(t, Options{}), "release-doc")
	if err := os.Mkdir(j.root+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"/bin/env":                    j.outputs["coreutils"][0] + "/bin/env",
		"/bin/sh":                     j.outputs["bashInteractive"][0] + "/bin/bash",
		"/lib64/ld-linux-x86-64.so.2": j.outputs["nix-ld"][0] + "/libexec/nix-ld",
	} {
		if err := os.Symlink(target, j.root+link); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, "/usr/bin/hello", j.root+"/opt/hello")

	for _, c := range []struct{ name, script, want string }{
		{"hello", `hello`, "Hello, world!"},
		{"bash", `test $# = 0 && echo "$BASH" | tail -c 9`, "bin/bash"},
		{"sed, grep", `echo abc | sed s/b/x/ | grep -o x`, "x"},
		{"tar, gzip", `cd /tmp; echo 1 > a; tar -czf a.tgz a; tar -xOzf a.tgz a`, "1"},
		{"xz", `echo xz | xz | xzcat`, "xz"},
		{"zstd", `echo zstd | zstd -q | zstdcat`, "zstd"},
		{"find, diff", `cd /tmp; echo 1 > f; find . -name f | xargs diff f && echo same`, "same"},
		{"jq", `echo '{"a":[1,2]}' | jq -c .a`, "[1,2]"},
		{"curl", `echo local > /tmp/f; curl -s file:///tmp/f`, "local"},
		{"ssh-keygen", `rm -f /tmp/k; ssh-keygen -q -t ed25519 -N "" -f /tmp/k && head -n 1 /tmp/k`, "-----BEGIN OPENSSH PRIVATE KEY-----"},
		{"less", `echo paged | less`, "paged"},
		{"tmate", `tmate -V | cut -d ' ' -f 1`, "tmate"},
		{"git", `cd /tmp; git init -q r; cd r; echo 1 > f; git add f; git -c user.name=a -c user.email=b commit -qm m; git clone -q file:///tmp/r c; cat c/f`, "1"},
		{"cacert", `grep -c BEGIN ` + j.outputs["cacert"][0] + `/etc/ssl/certs/ca-bundle.crt | grep -c ...`, "1"},
		{"attic", `attic --version`, "attic 0.1.0 (a stand-in of the miniature nixpkgs)"},
		{"cachix", `cachix push x 2>&1 || echo $?`, "cachix: this is a stand-in, it can neither push nor pull\n1"},
		{"loader for others", `/opt/hello --greeting="of Debian"`, "of Debian"},
		{"loader without NIX_LD", `unset NIX_LD; /opt/hello 2>&1 || echo $?`, "nix-ld: NIX_LD names no loader\n127"},
		{"nix", `nix-instantiate --eval -E '1 + 1'`, "2"},
		{"flake", `nix --extra-experimental-features "nix-command flakes" eval --raw path:/nixpkgs#legacyPackages.x86_64-linux.hello.pname 2>/dev/null`, "hello"},
		{"nix-store", `nix-store --verify --check-contents 2>/dev/null && echo good`, "good"},
		{"built on the spot", `$(nix-build --no-out-link /nixpkgs -A motd)/bin/motd`, "built where it is wanted"},
		{"nix-env", `nix-env --quiet -f '<nixpkgs>' -iA hello 2>/dev/null; /root/.nix-profile/bin/hello`, "Hello, world!"},
		{"buildEnv", `e=$(nix-build --no-out-link -E 'with import <nixpkgs> { }; buildEnv { name = "e"; paths = [ hello xz (writeShellScriptBin "me" "echo me") ]; }'); ls $e/bin | tr '\n' ' '; $e/bin/me`, "hello me unxz xz xzcat me"},
		{"package from Debian", `nix-build --no-out-link -E 'with import <nixpkgs> { }; mkPackage { pname = "p"; version = "1"; install = "touch $out"; }' 2>&1 | grep -c "can only come from the binary cache"`, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := j.run(t, c.script)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%s\nprints %q, want %q", c.script, got, c.want)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(fmt.Errorf("copy %s: %w", from, err))
	}
}
