package debian

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRead checks that the manifest of this machine hangs together:
// every need is an output that has libraries, and no two files are in one place.
func TestRead(t *testing.T) {
	m, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	libraries := map[Need]bool{}
	for _, p := range m.Packages {
		for _, o := range p.Outputs {
			if len(o.Libraries)+len(o.Loaders) > 0 {
				libraries[Need{Package: p.Name, Output: o.Name}] = true
			}
		}
	}
	for attr, p := range m.Packages {
		if p.Version == "" || p.Version[0] < '0' || p.Version[0] > '9' {
			t.Errorf("%s has version %q", attr, p.Version)
		}
		for _, o := range p.Outputs {
			for _, n := range o.Needs {
				if !libraries[n] {
					t.Errorf("%s needs %v, which has no library", attr, n)
				}
			}
			var places []string
			for _, f := range slices.Concat(o.Programs, o.Libraries, o.Loaders, o.Scripts, o.Data) {
				places = append(places, f.To)
			}
			for _, l := range o.Links {
				places = append(places, l.To)
			}
			slices.Sort(places)
			if len(slices.Compact(slices.Clone(places))) != len(places) {
				t.Errorf("%s has two files in one place: %v", attr, places)
			}
		}
	}
	for _, attr := range []string{"glibc", "bashInteractive", "xz", "zstd", "nix", "gitMinimal", "cacert", "gcc-unwrapped"} {
		if m.Packages[attr] == nil {
			t.Errorf("there is no %s", attr)
		}
	}
	if names := outputs(m.Packages["xz"]); !slices.Equal(names, []string{"bin", "out"}) {
		t.Errorf("xz has outputs %v, want bin first", names)
	}
	again, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, again); diff != "" {
		t.Errorf("read twice (-first +second):\n%s", diff)
	}
}

func outputs(p *Package) []string {
	var names []string
	for _, o := range p.Outputs {
		names = append(names, o.Name)
	}
	return names
}

// writeDatabase makes a folder like /var/lib/dpkg.
func writeDatabase(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "info"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDatabase(t *testing.T) {
	db, err := openDatabase(writeDatabase(t, map[string]string{
		"status": "Package: tar\nStatus: install ok installed\nVersion: 1.34+dfsg-1.2+deb12u1\nDescription: a\n Version: 7\n\n" +
			"Package: gone\nStatus: deinstall ok config-files\nVersion: 1.0\n\n" +
			"Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13.dfsg-1\n\n" +
			"Package: jq\nStatus: install ok installed\nVersion: 1.6~rc2-2.1\n",
		"info/tar.list":          "/.\n/bin\n/bin/tar\n/usr/share/doc/tar\n",
		"info/zlib1g:amd64.list": "/.\n/usr/lib/x86_64-linux-gnu/libz.so.1\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for pkg, want := range map[string]string{"tar": "1.34", "zlib1g": "1.2.13", "jq": "1.6"} {
		if got := db.version(pkg); got != want {
			t.Errorf("version of %s %q = %q, want %q", pkg, db.versions[pkg], got, want)
		}
	}
	if got := db.missing([]string{"tar", "gone", "never", "never"}); !slices.Equal(got, []string{"gone", "never"}) {
		t.Errorf("missing packages = %v, want gone and never", got)
	}
	for path, want := range map[string]string{
		"/bin/tar": "tar", "/usr/bin/tar": "tar",
		"/lib/x86_64-linux-gnu/libz.so.1": "zlib1g",
	} {
		if got, err := db.owner(path); err != nil || got != want {
			t.Errorf("owner of %s = %q, %v, want %s", path, got, err, want)
		}
	}
	if got, err := db.owner(filepath.Join(t.TempDir())); err == nil {
		t.Errorf("owner of a folder of ours = %q", got)
	}
}

func TestNoDebian(t *testing.T) {
	_, err := openDatabase(t.TempDir())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "this is no Debian system") {
		t.Errorf("without a list of packages: error %v", err)
	}
}

func TestMissing(t *testing.T) {
	err := &MissingError{Packages: []string{"nix-bin", "patchelf"}}
	const want = "these Debian packages are not installed: nix-bin patchelf (hint: apt-get install nix-bin patchelf)"
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestLibraryPlace(t *testing.T) {
	for deb, want := range map[string]place{
		"libssl3":   {"openssl", "openssl", "out"},
		"liblzma5":  {"xz", "xz", "out"},
		"libfoo1.2": {"libfoo1_2", "libfoo1.2", "out"},
		"libg++9":   {"libgxx9", "libg++9", "out"},
	} {
		if got := libraryPlace(deb); got != want {
			t.Errorf("libraryPlace(%q) = %v, want %v", deb, got, want)
		}
	}
}
