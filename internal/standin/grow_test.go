package standin

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGrow lets Nix itself fetch and verify what was generated, by way of jq.
func TestGrow(t *testing.T) {
	const paths, largest = 6, 3<<20 + 5
	s := testServer(t, Options{})
	if err := s.Grow(paths, largest); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	t.Cleanup(func() { removeAll(root) })
	jq := s.fixture.Outputs(s.Head("nixos-unstable"), Systems[0])["jq"][0]
	if err := substitute(t, s, root, s.PublicKey(), []string{jq}); err != nil {
		t.Fatal(err)
	}
	grown, err := filepath.Glob(root + "/nix/store/*-grown-*")
	if err != nil || len(grown) != paths {
		t.Fatalf("jq came with %q, %v, want %d store paths", grown, err, paths)
	}
	if info, err := os.Stat(root + grownPath(0).String()); err != nil || info.Size() != largest {
		t.Errorf("the largest: %v, %v, want %d bytes", info, err, largest)
	}
}
