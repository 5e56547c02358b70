package nixdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// store is a folder that Nix takes for the root of a file system with a store.
type store struct {
	root string
	home string
}

// newStore writes a database and makes a store around it.
// It skips the test on a machine without Nix.
func newStore(t *testing.T) store {
	t.Helper()
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	s := store{root: t.TempDir(), home: t.TempDir()}
	t.Cleanup(s.unlock)
	for _, dir := range []string{s.root + nix.StoreDir, s.root + "/nix/var/nix/db", s.root + "/nix/var/nix/gcroots"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.root+"/nix/var/nix/db/schema", []byte(Schema), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// unlock makes folders writable that Nix has made read-only, so that they can be removed.
func (s store) unlock() {
	filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
}

func (s store) database() string { return s.root + "/nix/var/nix/db/db.sqlite" }

// add writes a file of the store object's tree; name is "" for an object that is a file.
func (s store) add(t *testing.T, path nix.StorePath, name, content string) {
	t.Helper()
	file := filepath.Join(s.root, path.String(), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// info describes an object whose files are there.
func (s store) info(t *testing.T, path nix.StorePath, refs ...nix.StorePath) nix.PathInfo {
	t.Helper()
	hash := sha256.New()
	var size counter
	if err := nixtest.WritePath(io.MultiWriter(hash, &size), s.root+path.String()); err != nil {
		t.Fatal(err)
	}
	return nix.PathInfo{Path: path, NarHash: nix.Hash(hash.Sum(nil)), NarSize: int64(size), References: refs}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// run runs a command of Nix in the store and returns its output without the last newline.
func (s store) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s store) try(args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "USER=nobody", "NIX_CONF_DIR=" + s.home, "NIX_USER_CONF_FILES=",
		"NIX_REMOTE=local?root=" + s.root,
		"NIX_CONFIG=build-users-group =\nsubstitute = false\nexperimental-features = nix-command ca-derivations",
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// filledStore holds a library, a signed program that refers to it and to itself, and a source tree.
func filledStore(t *testing.T) (s store, lib, app, source nix.PathInfo) {
	t.Helper()
	s = newStore(t)
	libPath := mustPath(t, "rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1")
	s.add(t, libPath, "", "library\n")
	lib = s.info(t, libPath)
	lib.Ultimate = true

	appPath := mustPath(t, "gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1")
	s.add(t, appPath, "bin/app", libPath.String()+"\n"+appPath.String()+"/share\n")
	app = s.info(t, appPath, appPath, libPath)
	app.Deriver = mustPath(t, "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-app-1.drv")
	first, second := keys()
	app.Sigs = []nix.Signature{first.Sign(app), second.Sign(app)}

	draft := mustPath(t, "00000000000000000000000000000000-draft")
	s.add(t, draft, "default.nix", "\"a source tree\"\n")
	hash := s.info(t, draft).NarHash
	sourcePath, err := nix.SourcePath("nixpkgs-src", hash, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.root+draft.String(), s.root+sourcePath.String()); err != nil {
		t.Fatal(err)
	}
	source = s.info(t, sourcePath)
	source.CA = "fixed:r:" + hash.String()
	if err := Write(s.database(), []nix.PathInfo{lib, app, source}); err != nil {
		t.Fatal(err)
	}
	return s, lib, app, source
}

func TestNixQueries(t *testing.T) {
	s, lib, app, source := filledStore(t)
	for _, test := range []struct{ option, path, want string }{
		{"--requisites", app.Path.String(), app.Path.String() + "\n" + lib.Path.String()},
		{"--references", app.Path.String(), app.Path.String() + "\n" + lib.Path.String()},
		{"--referrers", lib.Path.String(), app.Path.String()},
		{"--referrers", source.Path.String(), ""},
		{"--hash", app.Path.String(), app.NarHash.String()},
		{"--size", app.Path.String(), fmt.Sprint(app.NarSize)},
		{"--deriver", app.Path.String(), app.Deriver.String()},
		{"--deriver", lib.Path.String(), "unknown-deriver"},
	} {
		lines := strings.Split(s.run(t, "nix-store", "--query", test.option, test.path), "\n")
		slices.Sort(lines)
		if got := strings.Join(lines, "\n"); got != test.want {
			t.Errorf("nix-store --query %s %s: %q, want %q", test.option, test.path, got, test.want)
		}
	}
	s.run(t, "nix-store", "--verify", "--check-contents")
	// Nix has switched the file to another journal; it still says the same.
	want := []nix.PathInfo{app, lib, source}
	slices.SortFunc(want, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	got, err := Read(s.database())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the database after Nix has used it (-want +got):\n%s", diff)
	}
}

// TestNixPathInfo reads signatures and content addresses as attic and cachix do.
func TestNixPathInfo(t *testing.T) {
	s, lib, app, source := filledStore(t)
	type pathInfo struct {
		Path       string   `json:"path"`
		NarHash    string   `json:"narHash"`
		NarSize    int64    `json:"narSize"`
		References []string `json:"references"`
		Deriver    string   `json:"deriver"`
		Signatures []string `json:"signatures"`
		CA         string   `json:"ca"`
		Ultimate   bool     `json:"ultimate"`
	}
	var want []pathInfo
	for _, info := range []nix.PathInfo{app, lib, source} {
		p := pathInfo{Path: info.Path.String(), NarHash: info.NarHash.SRI(), NarSize: info.NarSize,
			References: []string{}, Deriver: info.Deriver.String(), CA: info.CA, Ultimate: info.Ultimate}
		for _, ref := range info.References {
			p.References = append(p.References, ref.String())
		}
		for _, sig := range info.Sigs {
			p.Signatures = append(p.Signatures, sig.String())
		}
		want = append(want, p)
	}
	slices.SortFunc(want, func(a, b pathInfo) int { return strings.Compare(a.Path, b.Path) })
	out := s.run(t, "nix", "path-info", "--json", "--all", "--store", "local?root="+s.root)
	// Older versions print a list, newer ones an object by path.
	var got []pathInfo
	byPath := map[string]pathInfo{}
	if err := errors.Join(json.Unmarshal([]byte(out), &got), json.Unmarshal([]byte(out), &byPath)); len(got)+len(byPath) == 0 {
		t.Fatal(err)
	}
	for path, info := range byPath {
		info.Path = path
		got = append(got, info)
	}
	slices.SortFunc(got, func(a, b pathInfo) int { return strings.Compare(a.Path, b.Path) })
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("nix path-info (-want +got):\n%s", diff)
	}
}

// TestNixSignatures lets Nix verify the signatures of this package's keys, and the objects that need none.
func TestNixSignatures(t *testing.T) {
	s, _, _, _ := filledStore(t)
	first, second := keys()
	s.run(t, "nix", "store", "verify", "--all", "--option", "trusted-public-keys", first.Public().String())
	s.run(t, "nix", "store", "verify", "--all", "--option", "trusted-public-keys", second.Public().String())
	stranger := nixtest.NewSecretKey("key-2", [32]byte{3}).Public().String()
	if _, err := s.try("nix", "store", "verify", "--all", "--option", "trusted-public-keys", stranger); err == nil || !strings.Contains(err.Error(), "app-1") {
		t.Errorf("with another key: %v, want an error about app-1", err)
	}
}

func TestNixFindsChanges(t *testing.T) {
	s, lib, _, _ := filledStore(t)
	s.add(t, lib.Path, "", "Library\n")
	if _, err := s.try("nix-store", "--verify", "--check-contents"); err == nil || !strings.Contains(err.Error(), "was modified") {
		t.Errorf("verify: %v, want an error", err)
	}
}

// TestNixGarbage collects with only the source as a root;
// without the trigger, the program's reference to itself would be in the way.
func TestNixGarbage(t *testing.T) {
	s, lib, app, source := filledStore(t)
	if err := os.Symlink(source.Path.String(), s.root+"/nix/var/nix/gcroots/source"); err != nil {
		t.Fatal(err)
	}
	s.run(t, "nix-store", "--gc")
	for _, info := range []nix.PathInfo{lib, app} {
		if _, err := os.Lstat(s.root + info.Path.String()); err == nil {
			t.Errorf("%s is still there", info.Path)
		}
	}
	got, err := Read(s.database())
	if err != nil || len(got) != 1 || got[0].Path != source.Path {
		t.Errorf("left are %v, %v, want %s", got, err, source.Path)
	}
}

// TestNixFetchTarball evaluates what users write; there is nothing to download it from.
func TestNixFetchTarball(t *testing.T) {
	s, _, _, source := filledStore(t)
	fetch := fmt.Sprintf(`builtins.fetchTarball { url = "http://127.0.0.1:9/x"; name = "nixpkgs-src"; sha256 = "%s"; }`, source.NarHash.Base32())
	if got := s.run(t, "nix-instantiate", "--eval", "--read-write-mode", "-E", fetch); got != `"`+source.Path.String()+`"` {
		t.Errorf("fetchTarball returns %s, want %s", got, source.Path)
	}
}

// TestNixSelfReference lets Nix compute the path of an object that contains its own path.
func TestNixSelfReference(t *testing.T) {
	s, lib, app, _ := filledStore(t)
	s.run(t, "nix", "store", "make-content-addressed", app.Path.String())
	infos, err := Read(s.database())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, info := range infos {
		if info.CA == "" || info.Path.Name() == "nixpkgs-src" {
			continue
		}
		names = append(names, info.Path.Name())
		self := slices.Contains(info.References, info.Path)
		if self != (info.Path.Name() == app.Path.Name()) {
			t.Errorf("%s: refers to itself: %t", info.Path, self)
		}
		// Objects without a reference to themselves need no signature; the others have a right path, but need one.
		err := info.Trusted(nil)
		if !self && err != nil || self && (err == nil || err.Error() != "not signed") {
			t.Errorf("%s with %q: Trusted: %v", info.Path, info.CA, err)
		}
	}
	slices.Sort(names)
	if want := []string{app.Path.Name(), lib.Path.Name()}; !slices.Equal(names, want) {
		t.Errorf("made content-addressed: %v, want %v", names, want)
	}
}
