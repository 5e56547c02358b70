// Package nixdb turns the PathInfos of a closed set of store objects
// into the SQLite database in which Nix keeps them, and back.
//
// The database is the file /nix/var/nix/db/db.sqlite of an image;
// beside it must lie a file named schema that holds Schema and nothing else.
// The same infos, in whatever order, give the same bytes.
//
// The layout is that of schema version 10, which all versions of Nix
// from 2.0 on read; newer ones add to it what they miss when they first open it.
// Derivations get no rows of their own for their outputs:
// an image holds what was built, not what it was built from.
package nixdb

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// Schema is the content of the file schema beside the database. Nix refuses it with a newline behind.
const Schema = "10"

// Identity names what decides the bytes of a database beside its infos. The version of the
// library is in the header of every SQLite file; a test holds it against go.mod.
const Identity = "schema=" + Schema + " tables=2 sqlite=modernc.org/sqlite@" + sqliteVersion

const sqliteVersion = "v1.60.0"

// tables are Nix's tables, indexes and trigger.
// SQLite stores these texts in the file, so changing a blank changes every image.
var tables = []string{
	`CREATE TABLE ValidPaths (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  path TEXT UNIQUE NOT NULL,
  hash TEXT NOT NULL,
  registrationTime INTEGER NOT NULL,
  deriver TEXT,
  narSize INTEGER,
  ultimate INTEGER,
  sigs TEXT,
  ca TEXT
)`,
	`CREATE TABLE Refs (
  referrer INTEGER NOT NULL REFERENCES ValidPaths(id) ON DELETE CASCADE,
  reference INTEGER NOT NULL REFERENCES ValidPaths(id) ON DELETE RESTRICT,
  PRIMARY KEY (referrer, reference)
)`,
	`CREATE INDEX IndexReferrer ON Refs(referrer)`,
	`CREATE INDEX IndexReference ON Refs(reference)`,
	// Without it, the reference of an object to itself would forbid to delete it.
	`CREATE TRIGGER DeleteSelfRefs BEFORE DELETE ON ValidPaths
BEGIN
  DELETE FROM Refs WHERE referrer = old.id AND reference = old.id;
END`,
	`CREATE TABLE DerivationOutputs (
  drv INTEGER NOT NULL REFERENCES ValidPaths(id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  path TEXT NOT NULL,
  PRIMARY KEY (drv, id)
)`,
	`CREATE INDEX IndexDerivationOutputs ON DerivationOutputs(path)`,
	// Nix 2.24 and newer make this when they open a database that lacks it, even
	// one that they may only read.
	`CREATE TABLE SchemaMigrations (migration TEXT PRIMARY KEY NOT NULL)`,
}

// dataSource returns the name under which the driver opens a file,
// whatever characters the name of the file has.
func dataSource(file, mode string) (string, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=" + mode}).String(), nil
}

// open returns a database with a single connection.
func open(file, mode string) (*sql.DB, error) {
	source, err := dataSource(file, mode)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", file, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// sorted returns the infos by path, or an error if they are not a complete set.
func sorted(infos []nix.PathInfo) ([]nix.PathInfo, error) {
	infos = slices.Clone(infos)
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	for i, info := range infos {
		switch {
		case info.Path.IsZero():
			return nil, fmt.Errorf("an object without a path")
		case i > 0 && info.Path == infos[i-1].Path:
			return nil, fmt.Errorf("%s: twice", info.Path)
		case info.NarHash.IsZero() || info.NarSize <= 0:
			return nil, fmt.Errorf("%s: hash or size of the NAR unknown", info.Path)
		}
		for _, ref := range info.References {
			if _, ok := find(infos, ref); !ok {
				return nil, fmt.Errorf("%s: refers to %s, which is not in the set", info.Path, ref)
			}
		}
	}
	return infos, nil
}

// find returns the place of a path among sorted infos.
func find(infos []nix.PathInfo, path nix.StorePath) (int, bool) {
	return slices.BinarySearchFunc(infos, path, func(info nix.PathInfo, path nix.StorePath) int {
		return info.Path.Compare(path)
	})
}

// sigTexts returns signatures as Nix stores them: sorted, each once, separated by spaces.
func sigTexts(sigs []nix.Signature) string {
	var texts []string
	for _, sig := range sigs {
		texts = append(texts, sig.String())
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), " ")
}
