package nixdb

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// registrationTime is the same for all objects, so that it says nothing about the run:
// one second after the epoch, as for the files in the store.
const registrationTime = 1

// Write makes the database of the given objects in a file that must not exist yet.
// Every reference must be among the objects, and none may occur twice.
// The file is complete by itself: no journal is left beside it.
// After an error there is no file.
func Write(file string, infos []nix.PathInfo) (err error) {
	infos, err = sorted(infos)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file))
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := open(file, "rw")
	if err != nil {
		return err
	}
	if err := errors.Join(fill(db, infos), db.Close()); err != nil {
		return fmt.Errorf("database %q: %w", file, err)
	}
	return nil
}

// fill writes everything in one transaction: the file carries a count of transactions.
func fill(db *sql.DB, infos []nix.PathInfo) error {
	for _, pragma := range []string{
		"page_size = 4096",
		"encoding = 'UTF-8'",
		"journal_mode = OFF", // a file that is not complete is removed, so nothing is ever rolled back
		"synchronous = OFF",
	} {
		if _, err := db.Exec("PRAGMA " + pragma); err != nil {
			return err
		}
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, table := range tables {
		if _, err := tx.Exec(table); err != nil {
			return err
		}
	}
	if err := insertPaths(tx, infos); err != nil {
		return err
	}
	if err := insertReferences(tx, infos); err != nil {
		return err
	}
	return tx.Commit()
}

// insertPaths gives every object its place in the order, from 1 on, as its id.
func insertPaths(tx *sql.Tx, infos []nix.PathInfo) error {
	insert, err := tx.Prepare(`INSERT INTO ValidPaths
		(id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i, info := range infos {
		ca, err := contentAddress(info)
		if err != nil {
			return err
		}
		_, err = insert.Exec(i+1, info.Path.String(), "sha256:"+info.NarHash.Base16(), registrationTime,
			orNull(info.Deriver.String()), info.NarSize, sql.NullInt64{Int64: 1, Valid: info.Ultimate},
			orNull(sigTexts(info.Sigs)), orNull(ca))
		if err != nil {
			return fmt.Errorf("%s: %w", info.Path, err)
		}
	}
	return nil
}

func insertReferences(tx *sql.Tx, infos []nix.PathInfo) error {
	insert, err := tx.Prepare(`INSERT INTO Refs (referrer, reference) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i, info := range infos {
		var places []int
		for _, ref := range info.References {
			place, _ := find(infos, ref) // sorted has made sure that it is there
			places = append(places, place)
		}
		slices.Sort(places)
		for _, place := range slices.Compact(places) {
			if _, err := insert.Exec(i+1, place+1); err != nil {
				return fmt.Errorf("%s: %w", info.Path, err)
			}
		}
	}
	return nil
}

// contentAddress returns the form in which Nix writes it; on any other, Nix would stop at every query.
func contentAddress(info nix.PathInfo) (string, error) {
	if info.CA == "" {
		return "", nil
	}
	ca, err := nix.ParseContentAddress(info.CA)
	if err != nil {
		return "", fmt.Errorf("%s: %w", info.Path, err)
	}
	return ca.String(), nil
}

func orNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
