package recipe

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/config"
)

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(file)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "image.nix"), "{ }", 0o644)
	write(t, filepath.Join(dir, "rootfs/etc/passwd"), "root", 0o644)
	write(t, filepath.Join(dir, "bin/tool"), "#!/bin/sh", 0o755)
	if err := os.Symlink("passwd", filepath.Join(dir, "rootfs/etc/users")); err != nil {
		t.Fatal(err)
	}
	return dir
}

var settings = Settings{Systems: []config.System{{Nix: "x86_64-linux"}}, SourceNames: []string{"nixpkgs-src"}, Encoding: "gzip"}

func digest(t *testing.T, dir string, s Settings) ID {
	t.Helper()
	d, err := Identify(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDigestDoesNotDependOnTheMachine(t *testing.T) {
	a, b := folder(t), folder(t)
	write(t, filepath.Join(b, "rootfs/etc/passwd"), "root", 0o600) // another umask
	if err := os.Chtimes(filepath.Join(b, "image.nix"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b, "README.md"), "not part of the image", 0o644)
	write(t, filepath.Join(b, "image_test.go"), "package base", 0o644)
	write(t, filepath.Join(b, "testdata/x"), "", 0o644)
	if x, y := digest(t, a, settings), digest(t, b, settings); x != y {
		t.Errorf("two folders with the same content: %s and %s", x, y)
	}
}

// What an editor leaves behind neither changes a recipe nor enters an image.
func TestLeftovers(t *testing.T) {
	dir := folder(t)
	before := digest(t, dir, settings)
	names := []string{
		"image.nix~", ".image.nix.swp", ".image.nix.swo", "#image.nix#", ".DS_Store", "rootfs/.DS_Store",
		"rootfs/etc/passwd~", "rootfs/etc/#passwd#", "bin/tool~", "bin/.tool.swp",
	}
	for _, name := range names {
		write(t, filepath.Join(dir, name), "stray", 0o644)
	}
	if err := os.Symlink("ann@host.1:2", filepath.Join(dir, "rootfs/etc/.#passwd")); err != nil {
		t.Fatal(err)
	}
	if digest(t, dir, settings) != before {
		t.Error("they changed the recipe")
	}
	installed, err := Installed(dir)
	if len(installed) != 3 || err != nil {
		t.Errorf("Installed() = %+v, %v, want three files", installed, err)
	}
	for _, name := range []string{"rootfs/etc/.swap", "rootfs/etc/#x", "rootfs/etc/a~b", "rootfs/.config"} {
		write(t, filepath.Join(dir, name), "", 0o644)
		after := digest(t, dir, settings)
		if after == before {
			t.Errorf("%s does not count", name)
		}
		before = after
	}
	for _, pattern := range leftovers {
		if _, err := path.Match(pattern, ""); err != nil {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestDigestVariesWithEveryInput(t *testing.T) {
	want := digest(t, folder(t), settings)
	folders := map[string]func(dir string){
		"content":                       func(dir string) { write(t, filepath.Join(dir, "rootfs/etc/passwd"), "toor", 0o644) },
		"image.nix":                     func(dir string) { write(t, filepath.Join(dir, "image.nix"), "{  }", 0o644) },
		"script":                        func(dir string) { write(t, filepath.Join(dir, "bin/tool"), "#!/bin/bash", 0o755) },
		"executable":                    func(dir string) { write(t, filepath.Join(dir, "rootfs/etc/passwd"), "root", 0o755) },
		"new file":                      func(dir string) { write(t, filepath.Join(dir, "rootfs/etc/group"), "", 0o644) },
		"import":                        func(dir string) { write(t, filepath.Join(dir, "tools.nix"), "[ ]", 0o644) },
		"description that is installed": func(dir string) { write(t, filepath.Join(dir, "rootfs/README.md"), "", 0o644) },
		"test that is installed":        func(dir string) { write(t, filepath.Join(dir, "rootfs/src/a_test.go"), "", 0o644) },
		"test data that is installed":   func(dir string) { write(t, filepath.Join(dir, "rootfs/testdata/a"), "", 0o644) },
		"script that is a description":  func(dir string) { write(t, filepath.Join(dir, "bin/a.md"), "", 0o644) },
		"moved file": func(dir string) {
			os.Rename(filepath.Join(dir, "rootfs/etc/passwd"), filepath.Join(dir, "rootfs/passwd"))
		},
		"link target": func(dir string) {
			link := filepath.Join(dir, "rootfs/etc/users")
			os.Remove(link)
			os.Symlink("group", link)
		},
	}
	for name, change := range folders {
		dir := folder(t)
		change(dir)
		if digest(t, dir, settings) == want {
			t.Errorf("%s: the digest did not change", name)
		}
	}
	for name, s := range map[string]Settings{
		"systems":  {Systems: []config.System{{Nix: "aarch64-linux"}}, SourceNames: settings.SourceNames, Encoding: settings.Encoding},
		"names":    {Systems: settings.Systems, SourceNames: []string{"nixpkgs-src", "source"}, Encoding: settings.Encoding},
		"encoding": {Systems: settings.Systems, SourceNames: settings.SourceNames, Encoding: "zstd"},
	} {
		if digest(t, folder(t), s) == want {
			t.Errorf("%s: the digest did not change", name)
		}
	}
}

func TestDigestOfAnIncompleteFolder(t *testing.T) {
	dir := folder(t)
	os.Remove(filepath.Join(dir, "image.nix"))
	if _, err := Identify(dir, settings); err == nil {
		t.Error("no image.nix: no error")
	}
}

// Another text for the same settings would be another recipe, and every image
// would be made again.
func TestSettingsText(t *testing.T) {
	text, err := json.Marshal(Settings{Systems: settings.Systems, Optional: []config.System{}})
	const want = `{"systems":["x86_64-linux"],"optional":[],"sourceNames":null,"repository":"","keys":null,"labels":null,"encoding":"","database":""}`
	if err != nil || string(text) != want {
		t.Errorf("settings are written as %s, %v, want %s", text, err, want)
	}
}
