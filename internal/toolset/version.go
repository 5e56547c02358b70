package toolset

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// VersionError says that the Nix of this machine is too old for a nixpkgs.
type VersionError struct{ Found, Wanted string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this nixpkgs needs Nix %s or newer to be evaluated, found Nix %s", e.Wanted, e.Found)
}

var (
	comment = regexp.MustCompile(`(?m)#.*$`)
	literal = regexp.MustCompile(`"([0-9]+(?:\.[0-9]+)*)"`)
)

// checkVersion reads where nixpkgs says which Nix it wants: lib/minver.nix, or
// lib/minfeatures.nix in newer trees. A tree without them wants nothing.
func checkVersion(found, nixpkgs string) error {
	root, err := os.OpenRoot(nixpkgs)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{"lib/minver.nix", "lib/minfeatures.nix"} {
		text, err := smallfile.ReadIn(root, name, maxVersionFile)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m := literal.FindSubmatch(comment.ReplaceAll(text, nil))
		if m == nil {
			continue // evaluation itself will say what is wanted
		}
		if wanted := string(m[1]); evaluator.Older(found, wanted) {
			return &VersionError{Found: found, Wanted: wanted}
		}
	}
	return nil
}

// maxVersionFile bounds those files, which have a few hundred bytes.
const maxVersionFile = 64 << 10

// Newest is the Nix that the newest trees want, as far as is known.
const Newest = "2.18"

// TooOldForNewest tells whether a version of Nix cannot evaluate the newest
// trees.
func TooOldForNewest(found string) bool { return evaluator.Older(found, Newest) }
