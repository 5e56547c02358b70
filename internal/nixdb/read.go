package nixdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Bounds of what is read of a database that somebody else may have made. A NixOS
// desktop has some 5,000 paths.
const (
	maxPaths      = 100_000
	maxReferences = 2_000_000
	maxValue      = 1 << 20 // bytes of a value, and of a row
)

// Read returns what a database says, sorted by path; it leaves the file as it is.
// A row that Nix could not use is an error, and so is a reference to an object that is not there.
//
// The file may be anybody's: the tables that are read have to be those that Write
// makes, so that reading them computes nothing, and what is read is bounded.
func Read(file string) ([]nix.PathInfo, error) {
	return read(file, func(_ *sql.DB, schema []string) error { return tablesRead(schema) })
}

// ReadMade is Read for a database as Write makes it, that no Nix has opened: anything
// else in it is an error. A trigger, for one, would be a program that Nix runs.
func ReadMade(file string) ([]nix.PathInfo, error) {
	return read(file, func(db *sql.DB, schema []string) error {
		if err := tablesMade(schema); err != nil {
			return err
		}
		return whole(db)
	})
}

func read(file string, check func(*sql.DB, []string) error) ([]nix.PathInfo, error) {
	db, err := open(file, "ro")
	if err != nil {
		return nil, err
	}
	infos, err := readChecked(db, check)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("database %q: %w", file, err)
	}
	return infos, nil
}

func readChecked(db *sql.DB, check func(*sql.DB, []string) error) ([]nix.PathInfo, error) {
	if err := guard(db); err != nil {
		return nil, err
	}
	schema, err := schemaOf(db)
	if err == nil {
		err = check(db, schema)
	}
	if err != nil {
		return nil, err
	}
	return readAll(db)
}

// empty are the tables that Write leaves without a row. Nix would believe those.
var empty = []string{"DerivationOutputs", "SchemaMigrations"}

// whole refuses a database whose indexes say something else than its tables, or with
// rows that Write does not make.
func whole(db *sql.DB) error {
	var text string
	if err := db.QueryRow("PRAGMA integrity_check(1)").Scan(&text); err != nil {
		return err
	}
	if text != "ok" {
		return fmt.Errorf("damaged: %.200q", text)
	}
	for _, table := range empty {
		var n int
		if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s: has rows, which the factory does not make", table)
		}
	}
	return nil
}

// guard bounds what the one connection of a database takes into memory.
func guard(db *sql.DB) error {
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	if _, err := sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_LENGTH, maxValue); err != nil {
		return errors.Join(err, conn.Close())
	}
	_, err = conn.ExecContext(context.Background(), "PRAGMA trusted_schema = OFF")
	return errors.Join(err, conn.Close())
}

// maxSchema bounds the tables, indexes, views and triggers of a database. Nix has some 15.
const maxSchema = 100

// schemaOf returns the texts of all that a database was made of but what SQLite
// makes by itself.
func schemaOf(db *sql.DB) ([]string, error) {
	rows, err := db.Query(`SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'sqlite_sequence' ORDER BY rowid`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var texts []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if texts = append(texts, text); len(texts) > maxSchema {
			return nil, fmt.Errorf("more than %d tables", maxSchema)
		}
	}
	return texts, rows.Err()
}

// tablesRead refuses a database whose first tables are not ValidPaths and Refs as
// Write makes them: a view or a generated column in their place would be a program.
// Each name is there once, or SQLite does not open the file.
func tablesRead(schema []string) error {
	if len(schema) < 2 || schema[0] != tables[0] || schema[1] != tables[1] {
		return errors.New("ValidPaths and Refs are not the tables that the factory makes")
	}
	return nil
}

func tablesMade(schema []string) error {
	for i, text := range schema {
		if i >= len(tables) || text != tables[i] {
			return fmt.Errorf("nothing that the factory makes: %.60q", text)
		}
	}
	if len(schema) < len(tables) {
		return fmt.Errorf("%d tables, indexes and triggers, want %d", len(schema), len(tables))
	}
	return nil
}

func readAll(db *sql.DB) ([]nix.PathInfo, error) {
	places := map[int64]int{} // by id
	infos, err := readPaths(db, places)
	if err != nil {
		return nil, err
	}
	if err := readReferences(db, infos, places); err != nil {
		return nil, err
	}
	for _, info := range infos {
		slices.SortFunc(info.References, nix.StorePath.Compare)
	}
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return infos, nil
}

func readPaths(db *sql.DB, places map[int64]int) ([]nix.PathInfo, error) {
	rows, err := db.Query(`SELECT id, path, hash, deriver, narSize, ultimate, sigs, ca FROM ValidPaths ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var infos []nix.PathInfo
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.path, &r.hash, &r.deriver, &r.narSize, &r.ultimate, &r.sigs, &r.ca); err != nil {
			return nil, err
		}
		info, err := r.info()
		if err != nil {
			return nil, fmt.Errorf("ValidPaths: id %d: %w", r.id, err)
		}
		if len(infos) == maxPaths {
			return nil, fmt.Errorf("ValidPaths: more than %d rows", maxPaths)
		}
		places[r.id] = len(infos)
		infos = append(infos, info)
	}
	return infos, rows.Err()
}

// row is one of ValidPaths.
type row struct {
	id                int64
	path, hash        string
	deriver, sigs, ca sql.NullString
	narSize, ultimate sql.NullInt64
}

func (r row) info() (info nix.PathInfo, err error) {
	if info.Path, err = nix.ParseStorePath(r.path); err != nil {
		return info, err
	}
	if info.NarHash, err = nix.ParseHash(r.hash); err != nil {
		return info, err
	}
	if r.deriver.String != "" {
		if info.Deriver, err = nix.ParseStorePath(r.deriver.String); err != nil {
			return info, err
		}
	}
	for text := range strings.FieldsSeq(r.sigs.String) {
		sig, err := nix.ParseSignature(text)
		if err != nil {
			return info, err
		}
		info.Sigs = append(info.Sigs, sig)
	}
	if r.ca.String != "" {
		ca, err := nix.ParseContentAddress(r.ca.String)
		if err != nil {
			return info, err
		}
		info.CA = ca.String()
	}
	info.NarSize = r.narSize.Int64
	info.Ultimate = r.ultimate.Int64 != 0
	return info, nil
}

func readReferences(db *sql.DB, infos []nix.PathInfo, places map[int64]int) error {
	rows, err := db.Query(`SELECT referrer, reference FROM Refs ORDER BY referrer, reference`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		var referrer, reference int64
		if n == maxReferences {
			return fmt.Errorf("table Refs: more than %d rows", maxReferences)
		}
		if err := rows.Scan(&referrer, &reference); err != nil {
			return err
		}
		from, ok1 := places[referrer]
		to, ok2 := places[reference]
		if !ok1 || !ok2 {
			return fmt.Errorf("reference from id %d to id %d, of which one is not there", referrer, reference)
		}
		infos[from].References = append(infos[from].References, infos[to].Path)
	}
	return rows.Err()
}
