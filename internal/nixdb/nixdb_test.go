package nixdb

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

func mustPath(t testing.TB, base string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// keys returns two keys with names in bytewise order.
func keys() (nixtest.SecretKey, nixtest.SecretKey) {
	return nixtest.NewSecretKey("Key-1", [32]byte{1}), nixtest.NewSecretKey("key-2", [32]byte{2})
}

// sample is a closed set of objects, sorted, in which every field takes every kind of value.
func sample(t testing.TB) []nix.PathInfo {
	t.Helper()
	app := mustPath(t, "gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1")
	lib := mustPath(t, "rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1")
	tree := nix.Hash(sha256.Sum256([]byte("tree")))
	source, err := nix.SourcePath("nixpkgs-src", tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	infos := []nix.PathInfo{
		{Path: app, NarHash: sha256.Sum256([]byte("app")), NarSize: 832, References: []nix.StorePath{app, lib},
			Deriver: mustPath(t, "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-app-1.drv")},
		{Path: lib, NarHash: sha256.Sum256([]byte("lib")), NarSize: 1 << 33, Ultimate: true},
		{Path: source, NarHash: tree, NarSize: 1248, CA: "fixed:r:" + tree.String()},
	}
	first, second := keys()
	infos[0].Sigs = []nix.Signature{first.Sign(infos[0]), second.Sign(infos[0])}
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return infos
}

func write(t testing.TB, infos []nix.PathInfo) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db.sqlite")
	if err := Write(file, infos); err != nil {
		t.Fatal(err)
	}
	return file
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for name, infos := range map[string][]nix.PathInfo{"sample": sample(t), "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(write(t, infos))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(infos, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSameBytes writes the same set in many orders and in folders of other names.
func TestSameBytes(t *testing.T) {
	want := readFile(t, write(t, sample(t)))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		infos := sample(t)
		random.Shuffle(len(infos), func(i, j int) { infos[i], infos[j] = infos[j], infos[i] })
		for i := range infos {
			refs, sigs := slices.Clone(infos[i].References), slices.Clone(infos[i].Sigs)
			refs, sigs = append(refs, refs...), append(sigs, sigs...)
			random.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
			random.Shuffle(len(sigs), func(i, j int) { sigs[i], sigs[j] = sigs[j], sigs[i] })
			infos[i].References, infos[i].Sigs = refs, sigs
		}
		if !bytes.Equal(readFile(t, write(t, infos)), want) {
			t.Fatal("another order gives other bytes")
		}
	}
}

// TestPinnedBytes fails when images would get other bytes than before.
// The hash may be changed together with the number that marks the encoding of images,
// as after an update of the SQLite library, whose version stands in the file.
func TestPinnedBytes(t *testing.T) {
	const want = "431d472e211d47698dff7c56d6001efc9ad9f77982982c841b40c90f793ef766"
	if sum := sha256.Sum256(readFile(t, write(t, sample(t)))); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the database has the hash %x, want %s", sum, want)
	}
}

// TestFileHeader checks what the header says to whoever opens the file first.
func TestFileHeader(t *testing.T) {
	file := write(t, sample(t))
	data := readFile(t, file)
	for _, field := range []struct {
		name        string
		offset, len int
		want        string
	}{
		{"magic", 0, 16, hex.EncodeToString([]byte("SQLite format 3\x00"))},
		{"page size", 16, 2, "1000"},
		{"rollback journal", 18, 2, "0101"},
		{"UTF-8", 56, 4, "00000001"},
		{"user version", 60, 4, "00000000"},
		{"application id", 68, 4, "00000000"},
	} {
		if got := hex.EncodeToString(data[field.offset : field.offset+field.len]); got != field.want {
			t.Errorf("%s is %s, want %s", field.name, got, field.want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the database: %v, %v, want nothing", entries, err)
	}
}

// TestRows compares the raw values with those that Nix writes.
func TestRows(t *testing.T) {
	db, err := sql.Open("sqlite", write(t, sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	first, second := keys()
	infos := sample(t)
	app := infos[slices.IndexFunc(infos, func(info nix.PathInfo) bool { return info.Path.Name() == "app-1" })]
	for _, test := range []struct{ query, want string }{
		{"SELECT group_concat(id) FROM ValidPaths", "1,2,3"},
		{"SELECT group_concat(substr(path, 45)) FROM ValidPaths", "app-1,lib-1,nixpkgs-src"},
		{"SELECT group_concat(DISTINCT registrationTime) FROM ValidPaths", "1"},
		{"SELECT hash FROM ValidPaths WHERE path LIKE '%-app-1'", "sha256:" + app.NarHash.Base16()},
		{"SELECT deriver FROM ValidPaths WHERE path LIKE '%-app-1'", app.Deriver.String()},
		{"SELECT sigs FROM ValidPaths WHERE path LIKE '%-app-1'", first.Sign(app).String() + " " + second.Sign(app).String()},
		{"SELECT group_concat(coalesce(deriver, 'NULL')) FROM ValidPaths WHERE id > 1", "NULL,NULL"},
		{"SELECT group_concat(coalesce(ultimate, 'NULL')) FROM ValidPaths", "NULL,1,NULL"},
		{"SELECT group_concat(coalesce(sigs, 'NULL')) FROM ValidPaths WHERE id > 1", "NULL,NULL"},
		{"SELECT group_concat(coalesce(ca, 'NULL')) FROM ValidPaths WHERE id < 3", "NULL,NULL"},
		{"SELECT group_concat(typeof(narSize)) FROM ValidPaths", "integer,integer,integer"},
		{"SELECT group_concat(referrer || '>' || reference) FROM Refs", "1>1,1>2"},
		{"SELECT count(*) FROM DerivationOutputs", "0"},
		{"SELECT seq FROM sqlite_sequence WHERE name = 'ValidPaths'", "3"},
		{"SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name)",
			"DeleteSelfRefs,DerivationOutputs,IndexDerivationOutputs,IndexReference,IndexReferrer,Refs,SchemaMigrations,ValidPaths"},
		{"PRAGMA integrity_check", "ok"},
	} {
		var got string
		if err := db.QueryRow(test.query).Scan(&got); err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.query, got, err, test.want)
		}
	}
}

func TestWriteRejects(t *testing.T) {
	tests := []struct {
		name string
		edit func([]nix.PathInfo) []nix.PathInfo
		want string
	}{
		{"reference missing", func(p []nix.PathInfo) []nix.PathInfo { return slices.Delete(p, 1, 2) }, "-app-1: refers to"},
		{"twice", func(p []nix.PathInfo) []nix.PathInfo { return append(p, p[0]) }, ": twice"},
		{"no path", func(p []nix.PathInfo) []nix.PathInfo { return append(p, nix.PathInfo{}) }, "without a path"},
		{"no hash", func(p []nix.PathInfo) []nix.PathInfo { p[0].NarHash = nix.Hash{}; return p }, "unknown"},
		{"no size", func(p []nix.PathInfo) []nix.PathInfo { p[0].NarSize = 0; return p }, "unknown"},
		{"malformed CA", func(p []nix.PathInfo) []nix.PathInfo { p[0].CA = "fixed:x"; return p }, "content address"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "db.sqlite")
			if err := Write(file, test.edit(sample(t))); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file is left behind: %v", err)
			}
		})
	}
}

func TestWriteExisting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, sample(t)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrExist)
	}
	if got := readFile(t, file); string(got) != "precious" {
		t.Errorf("the file was changed to %q", got)
	}
	if err := Write(filepath.Join(file, "db.sqlite"), sample(t)); err == nil {
		t.Error("no error for a folder that is a file")
	}
}

func TestFileNames(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a b", "a?mode=ro", "a#b", "a%20b", "ä", "file:a", ":memory:", "relative/db"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := Write(name, sample(t)); err != nil {
			t.Errorf("Write(%q): %v", name, err)
			continue
		}
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("Write(%q) wrote no such file: %v", name, err)
		}
		if got, err := Read(name); err != nil || len(got) != 3 {
			t.Errorf("Read(%q) = %v, %v", name, got, err)
		}
	}
}

func TestReadRejects(t *testing.T) {
	for name, statement := range map[string]string{
		"path elsewhere":      "UPDATE ValidPaths SET path = '/gnu/store/x' WHERE id = 1",
		"malformed hash":      "UPDATE ValidPaths SET hash = 'md5:x' WHERE id = 1",
		"malformed deriver":   "UPDATE ValidPaths SET deriver = 'x' WHERE id = 1",
		"malformed signature": "UPDATE ValidPaths SET sigs = 'a:b' WHERE id = 1",
		"malformed CA":        "UPDATE ValidPaths SET ca = 'x' WHERE id = 1",
		"size as text":        "UPDATE ValidPaths SET narSize = 'x' WHERE id = 1",
		"referrer missing":    "INSERT INTO Refs VALUES (7, 1)",
		"reference missing":   "INSERT INTO Refs VALUES (1, 7)",
		"table missing":       "DROP TABLE Refs",
		"no table":            "DROP TABLE ValidPaths",
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, sample(t))
			db, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if infos, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("Read = %v, %v, want an error that names the file", infos, err)
			}
		})
	}
}

func TestReadOtherFiles(t *testing.T) {
	dir := t.TempDir()
	data := readFile(t, write(t, sample(t)))
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte(strings.Repeat("hello\n", 1000)), "cut off": data[:len(data)/2],
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if infos, err := Read(file); err == nil {
			t.Errorf("%s: Read = %v, want an error", name, infos)
		}
		if after := readFile(t, file); !bytes.Equal(after, content) {
			t.Errorf("%s: Read changed the file", name)
		}
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Read(missing); err == nil {
		t.Error("Read of a missing file: want an error")
	}
	if _, err := os.Lstat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read made a file: %v", err)
	}
}

// TestReadLooseForms reads what other versions and tools leave in a database.
func TestReadLooseForms(t *testing.T) {
	file := write(t, sample(t))
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	want := sample(t)
	for _, statement := range []string{
		"UPDATE ValidPaths SET hash = '" + want[0].NarHash.String() + "' WHERE id = 1",
		"UPDATE ValidPaths SET narSize = NULL, deriver = '', sigs = '', ca = '' WHERE id = 2",
		"UPDATE ValidPaths SET id = 9 WHERE id = 3",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want[1].NarSize = 0
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestVersionIsThatOfGoMod(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "modernc.org/sqlite " + sqliteVersion + "\n"; !strings.Contains(string(mod), want) && !strings.Contains(string(mod), strings.TrimSpace(want)+" //") {
		t.Errorf("Identity says sqlite %s, go.mod says otherwise", sqliteVersion)
	}
}
