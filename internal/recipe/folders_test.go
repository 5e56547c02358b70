package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// on makes an image folder beside another one, on which it builds.
func on(t *testing.T, base, name string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(base), name)
	write(t, filepath.Join(dir, "image.nix"), "args: import ./base/image.nix args", 0o644)
	if err := os.Symlink("../"+filepath.Base(base), filepath.Join(dir, BaseLink)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFolders(t *testing.T) {
	base := folder(t)
	slim := on(t, base, "slim")
	slimmer := on(t, slim, "slimmer")
	for image, want := range map[string][]string{
		base:    {base},
		slim:    {slim, slim + "/base"},
		slimmer: {slimmer, slimmer + "/base", slimmer + "/base/base"},
	} {
		got, err := Folders(image)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Folders(%s): %v (-want +got):\n%s", image, err, diff)
		}
	}
	// A folder of that name is one like any other.
	write(t, filepath.Join(base, BaseLink, "x.nix"), "", 0o644)
	if got, err := Folders(base); len(got) != 1 || err != nil {
		t.Errorf("with a folder named base: %q, %v", got, err)
	}
}

func TestFoldersRefuses(t *testing.T) {
	link := func(to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Symlink(to, filepath.Join(dir, BaseLink)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"nothing":   {link("../nothing"), "base"},
		"no image":  {link("/usr"), "image.nix"},
		"itself":    {link("."), "builds on itself"},
		"too many":  {func(t *testing.T, dir string) { chain(t, dir, maxFolders) }, "more than 7 others"},
		"image.nix": {func(_ *testing.T, dir string) { os.Remove(filepath.Join(dir, "image.nix")) }, "image.nix"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			tt.make(t, dir)
			if got, err := Folders(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Folders() = %q, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

// chain makes folders that build on each other below dir, n of them.
func chain(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		next := filepath.Join(t.TempDir(), fmt.Sprint(i))
		write(t, filepath.Join(next, "image.nix"), "{ }", 0o644)
		if err := os.Symlink(next, filepath.Join(dir, BaseLink)); err != nil {
			t.Fatal(err)
		}
		dir = next
	}
}

// Whatever changes in a folder that an image builds on changes its recipe.
func TestIdentifyOfAllFolders(t *testing.T) {
	base := folder(t)
	alone := digest(t, base, settings)
	slim := on(t, base, "slim")
	before := digest(t, slim, settings)
	if digest(t, base, settings) != alone || before == alone {
		t.Error("an image that is built on has another recipe for it, or the one that builds on it has the same")
	}
	write(t, filepath.Join(base, "README.md"), "not part of the image", 0o644)
	if digest(t, slim, settings) != before {
		t.Error("a description in the folder below changed the recipe")
	}
	for _, name := range []string{"rootfs/etc/passwd", "bin/tool", "image.nix"} {
		write(t, filepath.Join(base, name), "changed", 0o644)
		after := digest(t, slim, settings)
		if after == before {
			t.Errorf("%s of the folder below: the digest did not change", name)
		}
		before = after
	}
}

func TestInstalled(t *testing.T) {
	base := folder(t)
	slim := on(t, base, "slim")
	write(t, filepath.Join(slim, "rootfs/etc/passwd"), "of slim", 0o644)
	write(t, filepath.Join(slim, "rootfs/etc/group"), "of slim", 0o644)
	write(t, filepath.Join(slim, "tools.nix"), "", 0o644)
	files, err := Installed(slim)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range files {
		got[f.Name] = filepath.Dir(strings.TrimSuffix(f.From, f.Name) + "x")
	}
	want := map[string]string{
		"bin/tool":          slim + "/base",
		"rootfs/etc/group":  slim,
		"rootfs/etc/passwd": slim,
		"rootfs/etc/users":  slim + "/base",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Installed() (-want +got):\n%s", diff)
	}
}
