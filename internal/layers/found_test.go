package layers

import (
	"errors"
	"io"
	"os"
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

func TestDrop(t *testing.T) {
	layer, err := Packer{Dir: t.TempDir(), Encoding: Gzip}.Files([]File{{Path: "/a", Data: []byte("a")}}, "a")
	if err != nil {
		t.Fatal(err)
	}
	file := layer.file
	for range 2 { // the second time there is nothing to be done
		if err := layer.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
	var lost *LostError
	if _, err := layer.Compressed(); !errors.As(err, &lost) {
		t.Errorf("opened a layer that was dropped: %v", err)
	}
}
