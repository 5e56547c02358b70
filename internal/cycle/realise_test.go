package cycle_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
)

// What no cache has is built, and lands in the image. The Nix of this machine
// sees a /nix of the test's own.
func TestBuildsWhatNoCacheHas(t *testing.T) {
	t.Parallel()
	folder := copyImage(t)
	replace(t, filepath.Join(folder, "image.nix"), `(required "gzip")`, `(required "gzip") (required "motd")`)
	w := newWorld(t, settings{image: folder, systems: "x86_64-linux", channels: onlyRelease})
	before := list(t, "/nix/store")
	p := w.command(privateNix(t, w.dir), "run", "--once")
	p.Env = append(p.Env, "NIX_CONFIG=build-users-group =\nsandbox = false\nfsync-metadata = false", "NIX_REMOTE=")
	p.succeeds(t)
	if diff := cmp.Diff(before, list(t, "/nix/store")); diff != "" {
		t.Errorf("this machine's own store changed (-before +after):\n%s", diff)
	}

	inventory := w.inventory(release, w.upstream.Head(release))
	at := slices.IndexFunc(inventory.Tools, func(t image.InventoryTool) bool { return t.Attr == "motd" })
	if at < 0 {
		t.Fatalf("the image has no motd: %+v", inventory.Tools)
	}
	built := inventory.Tools[at].Path
	stack, err := w.image(release, w.upstream.Head(release)).Layers()
	if err != nil {
		t.Fatal(err)
	}
	if got := fileIn(t, stack, "nix/store/"+built.Base()+"/etc/motd"); string(got) != "built where it is wanted\n" {
		t.Errorf("etc/motd of what was built is %q", got)
	}
	database := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(database, member(t, stack[len(stack)-1], "nix/var/nix/db/db.sqlite"), 0o644); err != nil {
		t.Fatal(err)
	}
	infos, err := nixdb.Read(database)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Path != built && info.Ultimate {
			t.Errorf("%s is said to be built here", info.Path)
		}
		if info.Path == built && (!info.Ultimate || len(info.Sigs) > 0 || len(info.References) == 0) {
			t.Errorf("the database says of what was built: %+v", info)
		}
	}
}

// What cannot be built here either is an error that says what and why.
func TestCannotBuildWhatNoCacheHas(t *testing.T) {
	t.Parallel()
	folder := copyImage(t)
	replace(t, filepath.Join(folder, "image.nix"), `(required "gzip")`, `(required "gzip") (required "motd")`)
	w := newWorld(t, settings{image: folder, channels: onlyRelease})
	bin, spied := spies(t, w.dir)
	p := w.command(privateNix(t, w.dir), "run", "--once")
	p.Env = append(p.Env, "NIX_CONFIG=build-users-group =\nsandbox = false\nfsync-metadata = false", "NIX_REMOTE=",
		"GITHUB_TOKEN="+secretToken, "REGISTRY_USER=ann", "REGISTRY_PASSWORD="+secretPassword, "PATH="+bin+":"+os.Getenv("PATH"))
	p.start(t)
	if code := p.ends(t, 60e9); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	contains(t, "stderr", p.stderr.String(), "motd", foreign, "no cache has")
	w.tidy()
	// This Nix sees the user's settings, and what it builds could read its environment.
	told := spied()
	noSecrets(t, "arguments and environment of Nix", told)
	if !bytes.Contains(told, []byte("--realise")) {
		t.Error("no build was spied on: this shows nothing")
	}
}

// privateNix is a command that runs another one with an empty folder as /nix.
func privateNix(t testing.TB, dir string) []string {
	t.Helper()
	root, store := filepath.Join(dir, "root"), filepath.Join(dir, "nix")
	for _, d := range []string{root, filepath.Join(store, "store"), filepath.Join(store, "var")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // Nix leaves folders that are read-only
		if out, err := exec.Command("chmod", "-R", "u+w", store).CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out)
		}
	})
	script, err := filepath.Abs("../standin/build/private-nix.sh")
	if err != nil {
		t.Fatal(err)
	}
	unshare := []string{"unshare", "--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	return append(unshare, "sh", script, root, store)
}

// fileIn reads a file that is in one of the layers.
func fileIn(t testing.TB, stack []v1.Layer, name string) []byte {
	t.Helper()
	path, err := nix.ParseStorePathBase(strings.Split(name, "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range stack {
		rc, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(rc)
		for h, err := archive.Next(); err == nil; h, err = archive.Next() {
			if h.Name == name {
				data, err := io.ReadAll(archive)
				if err != nil {
					t.Fatal(err)
				}
				rc.Close()
				return data
			}
		}
		rc.Close()
	}
	t.Fatalf("no layer has %s of %s", name, path.Name())
	return nil
}
