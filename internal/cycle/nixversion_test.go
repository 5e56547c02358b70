package cycle_test

import (
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// A nixpkgs that wants a newer Nix than there is says so before it is evaluated.
func TestNixTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.serveInstead(t, "lib/minver.nix", "# Comments name other versions: \"1.0\"\n\"2.99.1\"\n", "")
	found, err := evaluator.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.failsAlone(t, "2.99.1", found.Version)
	f := w.open()
	defer f.Store.Close()
	// The error is one that the command line adds advice to.
	failure, err := f.Store.Failure(base(release), gittest.Rev(w.upstream.Head(release)))
	if err != nil || failure == nil {
		t.Fatalf("failure on record: %+v, %v", failure, err)
	}
	if !strings.Contains(failure.Error, (&toolset.VersionError{Found: found.Version, Wanted: "2.99.1"}).Error()) {
		t.Errorf("on record is %q", failure.Error)
	}
}
