package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// writePart leaves a part in a folder, which need not be there.
func writePart(dir string, part cycle.Part) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.Marshal(part)
	if err != nil {
		return err
	}
	name := part.Channel + "-" + part.ImageName + "-" + part.Rev.String() + "-" + part.System.String() + ".json"
	return os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644)
}

// maxPart bounds the file of a part, which has a few hundred bytes.
const maxPart = 1 << 20

// readParts reads the parts in a folder and groups them by commit and image, in the order
// of their names. A folder that is not there has none: nobody makes it where
// every build has failed.
func readParts(dir string) ([][]cycle.Part, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var commits [][]cycle.Part
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		file := filepath.Join(dir, e.Name())
		data, err := smallfile.Read(file, maxPart)
		if err != nil {
			return nil, err
		}
		part, err := parsePart(data)
		if err == nil {
			commits, err = addPart(commits, part)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return commits, nil
}

func parsePart(data []byte) (cycle.Part, error) {
	var part cycle.Part
	if err := json.Unmarshal(data, &part); err != nil {
		return cycle.Part{}, fmt.Errorf("not a part that factory build has left: %w", err)
	}
	if part.Channel == "" || part.ImageName == "" || part.Rev.IsZero() || part.System == (config.System{}) {
		return cycle.Part{}, errors.New("not a part that factory build has left: it has no channel, imageName, rev or system")
	}
	return part, nil
}

// addPart adds a part to those of its commit and image.
func addPart(commits [][]cycle.Part, part cycle.Part) ([][]cycle.Part, error) {
	i := slices.IndexFunc(commits, func(c []cycle.Part) bool {
		return c[0].Channel == part.Channel && c[0].ImageName == part.ImageName && c[0].Rev == part.Rev
	})
	if i < 0 {
		return append(commits, []cycle.Part{part}), nil
	}
	if slices.ContainsFunc(commits[i], func(p cycle.Part) bool { return p.System == part.System }) {
		return nil, fmt.Errorf("a second part of %s for %s", job(subject(part.Channel, part.ImageName), part.Rev.String()), part.System)
	}
	commits[i] = append(commits[i], part)
	return commits, nil
}
