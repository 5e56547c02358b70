package heads

import (
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

func TestContains(t *testing.T) {
	const asked = "1111111111111111111111111111111111111111"
	const path = "/repos/NixOS/nixpkgs/compare/" + rev + "..." + asked
	for _, tt := range []struct {
		status, base string
		want         bool
		err          string
	}{
		{"identical", asked, true, ""},
		{"behind", asked, true, ""},
		{"behind", rev, false, "both have"},
		{"ahead", asked, false, ""},
		{"diverged", rev, false, ""},
		{"", asked, false, `the commit is ""`},
	} {
		s := start(t, map[string]reply{
			branchPath + "nixos-unstable": {file: "branch.json"},
			path:                          {body: `{"status": "` + tt.status + `", "merge_base_commit": {"sha": "` + tt.base + `"}}`},
		})
		got, err := client(t, Options{API: s.URL}).Contains(t.Context(), "nixos-unstable", gittest.Rev(asked))
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Contains() = %t, %v, want %t, %q", tt.status, got, err, tt.want, tt.err)
		}
	}
}

// GitHub compares a commit with whatever has a name, of anybody's fork, too. Only a
// branch of the repository is a channel.
func TestContainsOfNoChannel(t *testing.T) {
	for _, name := range []string{"nixos-unstable", "evil:nixos-unstable", rev, "HEAD", "refs/pull/1/head", ""} {
		yes := reply{body: `{"status": "identical", "merge_base_commit": {"sha": "` + rev + `"}}`}
		s := start(t, map[string]reply{
			"/repos/NixOS/nixpkgs/compare/" + strings.ReplaceAll(name, "/", "%2F") + "..." + rev: yes,
			"/repos/NixOS/nixpkgs/compare/" + rev + "..." + rev:                                  yes,
		})
		if got, err := client(t, Options{API: s.URL}).Contains(t.Context(), name, gittest.Rev(rev)); got || err == nil {
			t.Errorf("Contains(%q) = %t, %v, want an error: it is no branch", name, got, err)
		}
	}
}
