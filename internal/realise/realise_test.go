package realise

import (
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// What the tree says is a derivation becomes an argument of Nix's: nothing is
// run for anything else.
func TestBuildOfNoDerivation(t *testing.T) {
	const path = "/nix/store/0c9xjlyzj5jb8mz6rbf2aqj0kn7i3m4s-x"
	for _, tool := range []toolset.Tool{
		{Attr: "a", DrvPath: "--option", Output: "out"},
		{Attr: "a", DrvPath: path, Output: "out"},
		{Attr: "a", DrvPath: path + ".drv/../x.drv", Output: "out"},
		{Attr: "a", DrvPath: path + ".drv", Output: ""},
		{Attr: "a", DrvPath: path + ".drv", Output: "out --option sandbox false"},
	} {
		// Its Nix is none: to run anything would be another error.
		err := Store{}.Build(t.Context(), []string{"."}, toolset.Args{}, []toolset.Tool{tool})
		if err == nil || !strings.Contains(err.Error(), "is not of a derivation") {
			t.Errorf("%q, %q: %v", tool.DrvPath, tool.Output, err)
		}
	}
}
