package layers

import (
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What a registry's manifest says may be anything.
func TestFound(t *testing.T) {
	inner, err := Packer{Dir: t.TempDir()}.Files([]File{{Path: "/a", Mode: 0o644}}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"short", strings.Repeat("0", 32), strings.Repeat("e", 32) + "-x"} {
		if _, err := Found("key", []string{name}, inner.diffID, inner); err == nil {
			t.Errorf("paths %q: no error", name)
		}
	}
	found, err := Found("key", nil, inner.diffID, inner)
	if err != nil {
		t.Fatal(err)
	}
	checkDigests(t, found)

	// Bytes that are not those of the digest are a lost layer.
	found.digest = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	broken, err := Found("key", nil, inner.diffID, found)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := broken.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var lost *LostError
	if _, err := io.ReadAll(rc); !errors.As(err, &lost) {
		t.Errorf("bytes of another digest: %v, want a LostError", err)
	}
}
