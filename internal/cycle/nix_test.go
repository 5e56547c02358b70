package cycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The image is the same, byte for byte, whichever Nix evaluates.
func TestEitherNixMakesTheSameImage(t *testing.T) {
	t.Parallel()
	digests := make(map[string]v1.Hash)
	for _, nix := range []string{"tree", "path"} {
		w := newWorld(t, settings{nix: nix, channels: onlyRelease})
		results := w.expect(release + ": build (new commit)")
		digests[nix] = results[0].Published[0].Digest
		_, err := os.Stat(filepath.Join(w.config.Cache, "nix"))
		if there := err == nil; there != (nix == "tree") {
			t.Errorf("%s: a Nix is kept: %v\n%s", nix, there, w.log.text())
		}
	}
	if digests["tree"] != digests["path"] {
		t.Errorf("digests differ: %v", digests)
	}
}

// The tree's Nix is fetched once, while the source comes, and its own layers are
// not fetched again for the next commit.
func TestTreesNixIsFetchedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{nix: "tree", channels: onlyRelease})
	w.setHead(release, "shared")
	w.expect(release + ": build (new commit)")
	first := len(w.asked()["nar"])
	w.mark()
	w.setHead(release, "release-doc") // which changes no package
	w.expect(release + ": build (new commit)")
	second := len(w.asked()["nar"])
	if second > 0 || first == 0 {
		t.Errorf("NARs fetched: %d, then %d", first, second)
	}
}

// A tree that names none is evaluated with the Nix on PATH, unless that is ruled out.
func TestTreeWithoutNix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{nix: "auto", channels: onlyRelease})
	w.setHead(release, "old")
	w.expect(release + ": build (new commit)")
	contains(t, "the log", w.log.text(), "the Nix on PATH evaluates", "it names none")

	w = newWorld(t, settings{nix: "tree", channels: onlyRelease})
	w.setHead(release, "old")
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, "the tree's own Nix: it names none")
	w.tidy()
}

// never is a machine that has never seen a Nix, nor anything else: a folder with the
// program, the image folder and the configuration becomes its root. With chroot,
// Linux refuses namespaces to an ordinary user.
const never = `set -eu
way=$1 root=$2
shift 2
cd "$root"
for device in null zero random urandom; do
  : > dev/$device
  mount --bind /dev/$device dev/$device
done
mount -t proc proc proc
if [ "$way" = chroot ]; then exec chroot --userspec=65534:65534 . "$@"; fi
mount --rbind . .
cd "$root"
pivot_root . .old
libraries=/.old/lib/x86_64-linux-gnu:/.old/usr/lib/x86_64-linux-gnu
/.old/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path $libraries /.old/bin/umount -l /.old
cd /
exec "$@"
`

// A whole cycle needs no Nix, with namespaces and without.
func TestWithoutAnyNix(t *testing.T) {
	t.Parallel()
	for way, says := range map[string]string{"chroot": "without namespaces: ", "pivot": "in namespaces without network"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			w := newWorld(t, settings{nix: "auto", channels: onlyRelease, dir: t.TempDir()})
			w.furnish(t, root)
			p := &process{}
			p.Cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", never, "sh", way, root,
				"/factory", "--config", "/home/channels.yaml", "--verbose", "run", "--once")
			p.Stdout, p.Stderr = &p.stdout, &p.stderr
			p.Env = []string{"PATH=/var/empty:" + os.Getenv("PATH"), "HOME=/home"}
			p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			p.succeeds(t)
			contains(t, "stderr", p.stderr.String(), "the tree's own Nix evaluates", "2.8.0", says)
			contains(t, "stdout", p.stdout.String(), release)
			if _, err := os.Stat(filepath.Join(root, "nix")); err == nil {
				t.Error("there is a /nix now")
			}
		})
	}
}

// furnish puts what a cycle needs into a folder that is to be a root.
func (w *world) furnish(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"dev", "proc", "tmp", "home", ".old"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(root, "home/image"), os.DirFS(imageFolder)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "factory"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "channels.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	there := strings.ReplaceAll(string(text), fmt.Sprintf("folder: %q", w.config.Images[0].Folder), "folder: image")
	if diff := cmp.Diff(string(text), there); diff == "" {
		t.Fatal("the configuration names no image folder")
	}
	if err := os.WriteFile(filepath.Join(root, "home/channels.yaml"), []byte(there), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What no cache has takes a Nix of this machine, and the error says so.
func TestBuildsNothingWithoutNix(t *testing.T) {
	t.Parallel()
	folder := copyImage(t)
	replace(t, filepath.Join(folder, "image.nix"), `(required "gzip")`, `(required "gzip") (required "motd")`)
	w := newWorld(t, settings{nix: "auto", image: folder, channels: onlyRelease})
	p := w.command(nil, "run", "--once")
	p.Env = append(p.Env, "PATH=/var/empty")
	p.start(t)
	if code := p.ends(t, 60e9); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	contains(t, "stderr", p.stderr.String(), foreign, "motd: ", "-motd-", ": not found in ", "it has to be built, and no Nix on PATH", "https://nixos.org/download")
	w.tidy()
}
