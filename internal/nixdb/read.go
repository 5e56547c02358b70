package nixdb

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Read returns what a database says, sorted by path; it leaves the file as it is.
// A row that Nix could not use is an error, and so is a reference to an object that is not there.
func Read(file string) ([]nix.PathInfo, error) {
	db, err := open(file, "ro")
	if err != nil {
		return nil, err
	}
	infos, err := readAll(db)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("database %q: %w", file, err)
	}
	return infos, nil
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
	for rows.Next() {
		var referrer, reference int64
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
