package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

// runGit runs git without any configuration of the user's.
func runGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1780000000 +0000",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=1780000000 +0000",
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// writeTree returns the id of the tree that git makes of a folder.
func writeTree(t testing.TB, dir string) string {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo.git")
	runGit(t, dir, "init", "--quiet", "--bare", repo)
	runGit(t, dir, "--git-dir="+repo, "--work-tree=.", "add", "--all", "--force", ".")
	return runGit(t, dir, "--git-dir="+repo, "write-tree")
}

// commit makes a repository of files: name to contents, a target behind "-> ", or a program that begins with "#!".
func commit(t testing.TB, files map[string]string) (repo string) {
	t.Helper()
	repo = t.TempDir()
	for name, data := range files {
		file := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(data, "-> "); ok {
			err = os.Symlink(target, file)
		} else if strings.HasPrefix(data, "#!") {
			err = os.WriteFile(file, []byte(data), 0o755)
		} else {
			err = os.WriteFile(file, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	runGit(t, repo, "init", "--quiet")
	runGit(t, repo, "add", "--all", "--force")
	runGit(t, repo, "commit", "--quiet", "--message", "all")
	return repo
}

// gitArchive makes an archive as GitHub does.
func gitArchive(t testing.TB, repo string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar.gz")
	runGit(t, repo, "archive", "--prefix=nixpkgs-1234567/", "--output="+file, "HEAD")
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestGitArchive(t *testing.T) {
	long := strings.Repeat("long-", 18) // 90 bytes
	repo := commit(t, map[string]string{
		"README.md":                              "# hello\n",
		"empty":                                  "",
		"bin/run":                                "#!/bin/sh\n",
		"foo-1":                                  "2",
		"foo.nix":                                "3",
		"foo/x":                                  "1",
		"foo/deep/er/y":                          "1",
		"foo0":                                   "4",
		"absolute":                               "-> /etc/passwd",
		"dangling":                               "-> no/where",
		"out":                                    "-> ../../..",
		"long-link":                              "-> " + long + long,
		long + "longer-than-that":                "5",
		long + "/" + long + "/f":                 "6",
		"p/" + strings.Repeat(long+"/", 4) + "f": "7",
		"caf\xe9/\xff":                           "8",
		"a b\nc":                                 "9",
		"large":                                  strings.Repeat("0123456789abcdef", 1<<16),
		".gitignore":                             "empty\n",
	})
	archive := gitArchive(t, repo)
	tree := read(t, archive)
	if want := runGit(t, repo, "rev-parse", "HEAD^{tree}"); tree.TreeID.String() != want {
		t.Errorf("tree id is %s, git says %s", tree.TreeID, want)
	}
	if want := runGit(t, repo, "rev-parse", "HEAD"); tree.Comment != want {
		t.Errorf("comment is %q, want %q", tree.Comment, want)
	}
	newNixStore(t).expectSame(t, archive, tree)
}

// With export attributes an archive is not the tree of its commit, and the tree id shows it.
func TestExportAttributes(t *testing.T) {
	for _, attributes := range []string{"secret export-ignore\n", "version export-subst\n"} {
		repo := commit(t, map[string]string{".gitattributes": attributes, "dir/secret": "x", "version": "$Format:%H$\n"})
		archive := gitArchive(t, repo)
		tree := read(t, archive)
		if commit := runGit(t, repo, "rev-parse", "HEAD^{tree}"); tree.TreeID.String() == commit {
			t.Errorf("with %q, the tree id is that of the commit", attributes)
		}
		newNixStore(t).expectSame(t, archive, tree)
	}
}

// A generated archive is the one that git would make of its tree, and is read right.
func TestGeneratedArchive(t *testing.T) {
	var archive bytes.Buffer
	if err := sourcetest.Write(&archive, sourcetest.Options{Files: 800, Bytes: 4_000_000}); err != nil {
		t.Fatal(err)
	}
	tree := read(t, archive.Bytes())
	if tree.Comment != sourcetest.Rev {
		t.Errorf("comment is %q, want %q", tree.Comment, sourcetest.Rev)
	}
	repo := filepath.Join(t.TempDir(), "repo")
	if err := tree.Unpack(repo); err != nil {
		t.Fatal(err)
	}
	runGit(t, repo, "init", "--quiet")
	runGit(t, repo, "add", "--all", "--force")
	runGit(t, repo, "commit", "--quiet", "--message", "all")
	if want := runGit(t, repo, "rev-parse", "HEAD^{tree}"); tree.TreeID.String() != want {
		t.Errorf("tree id is %s, git says %s", tree.TreeID, want)
	}
	if diff := cmp.Diff(headers(t, gitArchive(t, repo)), headers(t, archive.Bytes())); diff != "" {
		t.Errorf("members, git's are the first ones:\n%s", diff)
	}
	newNixStore(t).expectSame(t, archive.Bytes(), tree)
}

// headers lists what the members of an archive say, without what differs from commit to commit.
func headers(t testing.TB, archive []byte) []string {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for tr := tar.NewReader(zr); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(hdr.Name, "/")
		list = append(list, fmt.Sprintf("%c %q %o %d %q %s %s %d", hdr.Typeflag, name, hdr.Mode, hdr.Size, hdr.Linkname, hdr.Uname, hdr.Gname, hdr.Uid))
	}
}
