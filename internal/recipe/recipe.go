// Package recipe digests everything but the revision that decides the bytes of
// an image: its folder and those that it builds on, the settings that enter it,
// and the encoding.
//
// Equal recipes and equal revisions give equal images. A changed recipe is a
// reason to build a channel's head again.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// format changes when this program makes another image of the same inputs.
const format = 3

// Settings are the settings that enter an image. Adding a field changes every
// recipe.
type Settings struct {
	Systems     []config.System   `json:"systems"`
	Optional    []config.System   `json:"optional"` // systems that may be left out
	SourceNames []string          `json:"sourceNames"`
	Repository  string            `json:"repository"` // of nixpkgs, as in NixOS/nixpkgs
	Keys        []string          `json:"keys"`       // whose signatures enter the Nix database, in order
	Labels      map[string]string `json:"labels"`     // JSON has them in order
	Encoding    string            `json:"encoding"`   // identity of the layers' encoding
	Database    string            `json:"database"`   // identity of what writes the Nix database
}

// ID tells recipes apart: "sha256:" and 64 hex digits. It is compared and never
// taken apart, so one that somebody else wrote is no danger: it equals none.
type ID string

// Identify returns the recipe's ID. Of a file its path, whether it is
// executable, and its bytes count; of a link its target. Owners, times and
// other mode bits do not.
func Identify(image string, settings Settings) (ID, error) {
	h := sha256.New()
	text, err := json.Marshal(settings)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "factory recipe %d\n%s\n", format, text)
	folders, err := Folders(image)
	if err != nil {
		return "", err
	}
	for i, folder := range folders {
		if i > 0 {
			fmt.Fprintln(h, "builds on")
		}
		files, err := Files(folder)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if err := f.write(h); err != nil {
				return "", fmt.Errorf("%s: %w", folder, err)
			}
		}
	}
	return ID("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// write writes one line for a file or link, and a file's bytes. The length of
// each field is written before it, so no two folders give the same bytes.
func (f File) write(h hash.Hash) error {
	if f.Target != "" {
		fmt.Fprintf(h, "link %d %s %d %s\n", len(f.Name), f.Name, len(f.Target), f.Target)
		return nil
	}
	data, err := os.ReadFile(f.From)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "file %d %s %t %d\n", len(f.Name), f.Name, f.Executable, len(data))
	h.Write(data)
	return nil
}
