package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// nixStore is a private store that the real nix-prefetch-url unpacks into.
type nixStore struct {
	dir string
	env []string
}

func newNixStore(t testing.TB) *nixStore {
	t.Helper()
	if _, err := exec.LookPath("nix-prefetch-url"); err != nil {
		t.Skip("nix-prefetch-url is not on PATH")
	}
	dir := t.TempDir()
	// What Nix makes is read-only, and the test's folder could not be removed.
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, 0o755)
			}
			return err
		})
	})
	s := &nixStore{dir: dir, env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"NIX_REMOTE=local?root=" + dir + "/root",
		"NIX_STATE_DIR=" + dir + "/state",
		"NIX_CONF_DIR=" + dir + "/conf",
		"NIX_CONFIG=build-users-group =\nsubstitute = false\n",
	}}
	// Several that make a store at once get into each other's way.
	begin := exec.Command("nix-store", "--init")
	begin.Env = s.env
	if out, err := begin.CombinedOutput(); err != nil {
		t.Fatalf("nix-store --init: %v\n%s", err, out)
	}
	return s
}

// prefetch returns the NAR hash and store path that nix-prefetch-url --unpack prints.
func (s *nixStore) prefetch(t testing.TB, archive []byte) (nix.Hash, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar.gz")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nix-prefetch-url", "--unpack", "--print-path", "--name", "nixpkgs-src", "file://"+file)
	cmd.Env = s.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nix-prefetch-url: %v\n%s", err, stderr.String())
	}
	hash, path, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !ok {
		t.Fatalf("nix-prefetch-url printed %q", out)
	}
	h, err := nix.ParseHash(hash)
	if err != nil {
		t.Fatal(err)
	}
	return h, path
}

// expectSame compares a tree with what Nix makes of its archive.
func (s *nixStore) expectSame(t testing.TB, archive []byte, tree *Tree) {
	t.Helper()
	hash, path := s.prefetch(t, archive)
	if tree.NarHash != hash {
		t.Errorf("NAR hash is %v, nix-prefetch-url says %v", tree.NarHash, hash)
	}
	if got, err := tree.StorePath("nixpkgs-src"); err != nil || got.String() != path {
		t.Errorf("store path is %v (%v), nix-prefetch-url says %s", got, err, path)
	}
}

// Archives on which this package, nix-prefetch-url and git must agree.
func TestAgreement(t *testing.T) {
	long := strings.Repeat("long-", 18) // 90 bytes
	var large []member
	for i := range 40 {
		large = append(large, regular(fmt.Sprint("t/", i*7%20), fmt.Sprint(i)))
	}
	tests := []struct {
		name    string
		members []member
	}{
		{"git order", orders},
		{"all kinds", below("top", allKinds)},
		{"empty directory", []member{dir("t/")}},
		{"directories without files", []member{dir("t/"), dir("t/a/"), dir("t/a/b/"), dir("t/c/"), regular("t/d/e/f", "x")}},
		{"implied directories", []member{regular("t/a/b/c", "x"), regular("t/a/d", "y")}},
		{"lone file", []member{regular("f", "x")}},
		{"lone program", []member{program("f", "x")}},
		{"lone symlink", []member{symlink("l", "x")}},
		{"empty files", []member{regular("t/a", ""), program("t/b", "")}},
		{"links absolute, dangling and out of the tree", []member{symlink("t/a", "/etc/passwd"), symlink("t/b", "nowhere"), symlink("t/c", "../../.."), symlink("t/d", "."), symlink("t/e", "a//b/")}},
		{"longest link target", []member{symlink("t/a", strings.Repeat("x", 4095))}},
		{"modes", []member{
			{name: "t/owner", mode: 0o100}, {name: "t/group", mode: 0o010}, {name: "t/other", mode: 0o001}, {name: "t/none", mode: 0},
			{name: "t/write", mode: 0o222}, {name: "t/setuid", mode: 0o4644}, {name: "t/all", mode: 0o7777}, {name: "t/rx", mode: 0o555},
		}},
		{"odd orders", []member{regular("t/b", "1"), regular("t/a/z", "2"), regular("t/a.b", "3"), regular("t/a/b", "4"), regular("t/a-b", "5"), dir("t/a0/"), regular("t/A", "6"), regular("t/a!", "7")}},
		{"directories that are prefixes", []member{regular("t/x-/1", ""), regular("t/x/1", ""), regular("t/x./1", ""), regular("t/x0/1", ""), regular("t/x.y", ""), regular("t/xx", "")}},
		{"directory after its contents", []member{regular("t/a/x", "1"), dir("t/a/"), dir("t/")}},
		{"names of over 100 bytes", []member{regular("t/"+long+"longer-than-that", "1"), symlink("t/"+long+long, long+long)}},
		{"longest name", []member{regular("t/"+strings.Repeat("n", 255), "1")}},
		{"paths of over 255 bytes", []member{regular("t/"+long+"/"+long+"/"+long+"/"+long+"/f", "1")}},
		{"deepest path", []member{regular("t/"+strings.Repeat("d/", 62)+"f", "1")}},
		{"names that are no UTF-8", []member{regular("t/\xff\xfe", "1"), regular("t/caf\xe9", "2"), regular("t/caf\u00e9", "3"), regular("t/cafe\u0301", "4"), symlink("t/\x80", "\xff/\xfe")}},
		{"names with odd characters", []member{regular("t/a b", "1"), regular("t/a\nb", "2"), regular("t/a\\b", "3"), regular("t/-rf", "4"), regular("t/...", "5"), regular("t/'\"$*", "6"), regular("t/\x01\x7f", "7"), regular("t/.wh.x", "8")}},
		{"cases", []member{regular("t/Test", "1"), regular("t/test", "2"), regular("t/Test~nix~case~hack~1", "3")}},
		{"dots in names", []member{dir("./"), dir("./t/"), regular("./t/./a", "1"), regular("t//b", "2"), regular("t/c/.", "3"), dir("t/d/./")}},
		{"hard links", []member{regular("t/a", "1"), program("t/p", "2"), hardlink("t/b", "t/a"), hardlink("t/q", "t/p"), hardlink("t/sub/c", "t/b"), hardlink("t/d", "./t//a")}},
		{"hard link with another mode", []member{program("t/p", "2"), {kind: tar.TypeLink, name: "t/q", link: "t/p", mode: 0o644}}},
		{"hard link to a symlink", []member{symlink("t/a", "nowhere"), hardlink("t/b", "t/a")}},
		{"hard link in place of a file", []member{regular("t/a", "1"), regular("t/b", "2"), hardlink("t/b", "t/a")}},
		{"target of a hard link replaced", []member{regular("t/a", "1"), hardlink("t/b", "t/a"), regular("t/a", "2")}},
		{"file twice", []member{program("t/a", "1"), regular("t/a", "2")}},
		{"file twice in a large directory", large},
		{"file in place of a link", []member{regular("t/d", "1"), symlink("t/a", "d"), regular("t/a", "2"), symlink("t/b", "nowhere"), regular("t/b", "3")}},
		{"link in place of a file", []member{regular("t/a", "1"), symlink("t/a", "b")}},
		{"directory in place of a file", []member{regular("t/a", "1"), dir("t/a/"), regular("t/a/b", "2")}},
		{"directory in place of a link", []member{regular("t/d/q", "1"), symlink("t/a", "d"), dir("t/a/"), regular("t/a/b", "2")}},
		{"file in place of an empty directory", []member{dir("t/a/"), regular("t/a", "2")}},
		{"directory twice", []member{dir("t/a/"), regular("t/a/b", "2"), dir("t/a/")}},
		{"contiguous file", []member{{kind: '7', name: "t/a", data: "data"}}},
		{"global header between members", []member{dir("t/"), global(map[string]string{"comment": "x"}), regular("t/a", "")}},
		{"large file", []member{regular("t/a", strings.Repeat("0123456789abcdef", 1<<17)), regular("t/b", "x")}},
	}
	store := newNixStore(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			archive := zip(t, tarOf(t, tt.members...))
			tree := read(t, archive)
			store.expectSame(t, archive, tree)
			if tree.TreeID.IsZero() {
				if err := tree.Unpack(t.TempDir()); err == nil {
					t.Error("Unpack makes a directory of what is none")
				}
				return
			}
			dir := t.TempDir()
			if err := tree.Unpack(dir); err != nil {
				t.Fatal(err)
			}
			if want := writeTree(t, dir); tree.TreeID.String() != want {
				t.Errorf("tree id is %s, git says %s", tree.TreeID, want)
			}
		})
	}
}

// Times and owners do not count, wherever they stand. Nix refuses them in a global
// header with some versions of libarchive, so that it is asked about the same
// archive without one.
func TestTimesInGlobalHeader(t *testing.T) {
	members := []member{regular("t/a", "")}
	plain := zip(t, tarOf(t, members...))
	want := read(t, plain)
	newNixStore(t).expectSame(t, plain, want)
	got := read(t, zip(t, tarOf(t, append([]member{global(map[string]string{"mtime": "5", "uname": "x"})}, members...)...)))
	if got.NarHash != want.NarHash || got.TreeID != want.TreeID {
		t.Errorf("with a global header %v, %s, without one %v, %s", got.NarHash, got.TreeID, want.NarHash, want.TreeID)
	}
}

// Sparse files, in both of the forms that GNU tar writes, are read with their holes filled.
func TestSparse(t *testing.T) {
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("tar is not on PATH")
	}
	tmp := t.TempDir()
	if err := os.Mkdir(filepath.Join(tmp, "t"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(tmp, "t", "holes"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("in the middle"), 1<<20)
	if err := errors.Join(err, f.Truncate(2<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	store := newNixStore(t)
	for _, format := range []string{"gnu", "pax"} {
		cmd := exec.Command("tar", "--sparse", "--format="+format, "-czf", "archive.tar.gz", "t")
		cmd.Dir = tmp
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("tar: %v\n%s", err, out)
		}
		archive, err := os.ReadFile(filepath.Join(tmp, "archive.tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if len(archive) > 1000 {
			t.Errorf("%s: archive has %d bytes, is not sparse", format, len(archive))
		}
		store.expectSame(t, archive, read(t, archive))
	}
}
