package sbom

import (
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProgram(t *testing.T) {
	p := Program{Name: "factory", SHA256: "ab", Created: time.Unix(0, 0), Built: &debug.BuildInfo{
		GoVersion: "go1.26.1",
		Main:      debug.Module{Path: "github.com/nixpkgs-factory/factory", Version: "v1.2.3"},
		Deps: []*debug.Module{
			{Path: "github.com/VividCortex/ewma", Version: "v1.2.0", Sum: "h1:x="},
			{Path: "a.org/b_c", Version: "v0.0.1", Replace: &debug.Module{Path: "a.org/fork", Version: "v0.0.2+incompatible"}},
			{Path: "a.org/here", Version: "(devel)"},
		},
	}}
	data, err := p.SPDX()
	if err != nil {
		t.Fatal(err)
	}
	var purls []string
	for _, e := range validated(t, data).Packages {
		purls = append(purls, e.PackageExternalReferences[0].Locator)
	}
	want := []string{
		"pkg:golang/github.com/nixpkgs-factory/factory@v1.2.3", "pkg:golang/stdlib@1.26.1", "pkg:golang/github.com/vividcortex/ewma@v1.2.0",
		"pkg:golang/a.org/fork@v0.0.2%2Bincompatible", "pkg:golang/a.org/here",
	}
	if diff := cmp.Diff(want, purls); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}
