package heads

import (
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

func TestContains(t *testing.T) {
	const path = "/repos/NixOS/nixpkgs/compare/nixos-unstable..." + rev
	for _, tt := range []struct {
		status, base string
		want         bool
		err          string
	}{
		{"identical", rev, true, ""},
		{"behind", rev, true, ""},
		{"behind", strings.Repeat("1", 40), false, "both have"},
		{"ahead", rev, false, ""},
		{"diverged", strings.Repeat("1", 40), false, ""},
		{"", rev, false, `the commit is ""`},
	} {
		s := start(t, map[string]reply{path: {body: `{"status": "` + tt.status + `", "merge_base_commit": {"sha": "` + tt.base + `"}}`}})
		got, err := client(t, Options{API: s.URL}).Contains(t.Context(), "nixos-unstable", gittest.Rev(rev))
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Contains() = %t, %v, want %t, %q", tt.status, got, err, tt.want, tt.err)
		}
	}
	if _, err := client(t, Options{API: start(t, nil).URL}).Contains(t.Context(), "nixos-unstable", gittest.Rev(rev)); err == nil {
		t.Error("a repository without the channel: no error")
	}
}
