package image

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the first tool has, a folder or a link, stays what it is whatever the
// next one has there.
func TestProfileKeepsTheFirst(t *testing.T) {
	a, b := storePath(t, "a"), storePath(t, "b")
	r := Root{Inventory: Inventory{Tools: []InventoryTool{
		{Path: a, Files: []string{"etc/conf", "share/man/man1/a.1"}},
		{Path: b, Files: []string{"etc/conf/x", "share/man", "share/man/man1/b.1"}},
	}}}
	got := map[string]string{}
	for _, f := range r.profile(nil) {
		got[f.Path] = f.Target
	}
	want := map[string]string{
		"/nix/profile/etc/conf":           a.String() + "/etc/conf",
		"/nix/profile/share/man/man1/a.1": a.String() + "/share/man/man1/a.1",
		"/nix/profile/share/man/man1/b.1": b.String() + "/share/man/man1/b.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
}
