package nixdb

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// changed is a database in which statements were carried out.
func changed(t *testing.T, statements ...string) string {
	t.Helper()
	file := write(t, sample(t))
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// A database is not made to compute, whatever stands in the place of its tables.
func TestReadComputesNothing(t *testing.T) {
	view := `CREATE VIEW ValidPaths AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
		SELECT i AS id, '' AS path, '' AS hash, '' AS deriver, 1 AS narSize, 0 AS ultimate, '' AS sigs, '' AS ca FROM n`
	for name, statements := range map[string][]string{
		"a view":             {"DROP TABLE Refs", "DROP TABLE DerivationOutputs", "DROP TABLE ValidPaths", view},
		"a generated column": {"DROP TABLE Refs", `CREATE TABLE Refs (referrer INTEGER, reference AS (length(zeroblob(100000000))))`},
		"a virtual table":    {"DROP TABLE Refs", "CREATE VIRTUAL TABLE Refs USING fts5(referrer, reference)"},
	} {
		if infos, err := Read(changed(t, statements...)); err == nil || !strings.Contains(err.Error(), "not the tables") {
			t.Errorf("%s: Read = %v, %v", name, infos, err)
		}
	}
}

// Values that take memory are refused before they do.
func TestReadBoundsValues(t *testing.T) {
	file := changed(t, "UPDATE ValidPaths SET sigs = hex(zeroblob(2000000)) WHERE id = 1")
	if infos, err := Read(file); err == nil || !strings.Contains(err.Error(), "too big") {
		t.Errorf("Read = %v, %v", infos, err)
	}
}

// What an image has is what Write makes, and nothing that Nix would run.
func TestReadMade(t *testing.T) {
	if infos, err := ReadMade(write(t, sample(t))); err != nil || len(infos) != len(sample(t)) {
		t.Errorf("ReadMade = %v, %v", infos, err)
	}
	for name, statement := range map[string]string{
		"a trigger":    "CREATE TRIGGER t AFTER INSERT ON ValidPaths BEGIN DELETE FROM Refs; END",
		"a table more": "CREATE TABLE Realisations (id INTEGER)",
		"a table less": "DROP TABLE SchemaMigrations",
	} {
		file := changed(t, statement)
		if infos, err := ReadMade(file); err == nil {
			t.Errorf("%s: ReadMade = %v", name, infos)
		}
		if _, err := Read(file); err != nil {
			t.Errorf("%s: Read = %v", name, err)
		}
	}
}

// Rows of other tables and indexes say what Nix reads: they have to be as Write makes them.
func TestReadMadeWhole(t *testing.T) {
	for name, statement := range map[string]string{
		"an output":   "INSERT INTO DerivationOutputs (drv, id, path) VALUES (1, 'out', '/nix/store/x')",
		"a migration": "INSERT INTO SchemaMigrations (migration) VALUES ('20220326-ca-derivations')",
		"another index": `PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage =
			(SELECT rootpage FROM sqlite_master WHERE name = 'IndexReference') WHERE name = 'IndexReferrer'`,
	} {
		if infos, err := ReadMade(changed(t, statement)); err == nil {
			t.Errorf("%s: ReadMade = %v", name, infos)
		}
	}
}

// No file makes the library do more than refuse it.
func FuzzRead(f *testing.F) {
	data := readFile(f, write(f, sample(f)))
	f.Add(0, []byte("SQLite format 3"))
	for at := 0; at < len(data); at += 1000 {
		f.Add(at, []byte{0xff, 0xff, 0xff, 0x7f})
	}
	file := filepath.Join(f.TempDir(), "db.sqlite")
	f.Fuzz(func(t *testing.T, at int, by []byte) {
		broken := append([]byte{}, data...)
		if at < 0 || at >= len(broken) {
			return
		}
		copy(broken[at:], by)
		if err := os.WriteFile(file, broken, 0o644); err != nil {
			t.Fatal(err)
		}
		infos, err := ReadMade(file)
		if err == nil && len(infos) > maxPaths {
			t.Errorf("ReadMade = %d infos", len(infos))
		}
	})
}
