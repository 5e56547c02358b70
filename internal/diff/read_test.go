package diff

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// What the factory did not make is compared as far as it says something of itself.
func TestReadForeign(t *testing.T) {
	img, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(img)
	if err == nil {
		err = p.ReadFiles(img)
	}
	if err != nil || len(p.Layers) != 2 || p.Packages != nil || p.Tools != nil || p.Files != nil || len(p.Notes) != 3 {
		t.Errorf("Read() = %+v, %v", p, err)
	}
	if _, err := Read(empty.Image); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Errorf("an image without layers: %v", err)
	}
}

// made is an image of the factory that has files in its topmost layer.
func made(t *testing.T, files ...layers.File) v1.Image {
	t.Helper()
	root, err := layers.Packer{Dir: t.TempDir()}.Files(files, "")
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, root)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.Annotations(img, map[string]string{image.RecipeLabel: "sha256:1"}).(v1.Image)
}

func partOf(t *testing.T, img v1.Image) *Part {
	t.Helper()
	p, err := Read(img)
	if err == nil {
		err = p.ReadFiles(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// Files differ by what they are, and links by the package and the file that they lead
// to. What is of the store, and other in every image, does not count.
func TestFiles(t *testing.T) {
	link := func(digest, rest string) string { return "/nix/store/" + strings.Repeat(digest, 32) + "-" + rest }
	a := partOf(t, made(t,
		layers.File{Path: "/etc/same", Mode: 0o644, Data: []byte("x")}, layers.File{Path: "/etc/text", Mode: 0o644, Data: []byte("x")},
		layers.File{Path: "/etc/mode", Mode: 0o644}, layers.File{Path: "/bin/git", Target: link("a", "git-2.51/bin/git")},
		layers.File{Path: "/bin/sh", Target: link("a", "bash-5.3/bin/bash")}, layers.File{Path: "/gone", Mode: 0o644},
		layers.File{Path: "/nix/var/nix/db/db.sqlite", Mode: 0o644, Data: []byte("a")},
	))
	b := partOf(t, made(t,
		layers.File{Path: "/etc/same", Mode: 0o644, Data: []byte("x")}, layers.File{Path: "/etc/text", Mode: 0o644, Data: []byte("y")},
		layers.File{Path: "/etc/mode", Mode: 0o755}, layers.File{Path: "/bin/git", Target: link("b", "git-2.52/bin/git")},
		layers.File{Path: "/bin/sh", Target: link("a", "dash-0.5/bin/dash")}, layers.File{Path: "/new", Dir: true, Mode: 0o1777, UID: 7},
		layers.File{Path: "/nix/var/nix/db/db.sqlite", Mode: 0o644, Data: []byte("b")},
	))
	s := compareParts(a, b)
	var got []string
	rows, _ := s.Rows()
	for _, r := range rows {
		got = append(got, strings.Join([]string{r.What, r.Name, r.Change, r.From, r.To}, " "))
	}
	want := []string{
		"file /bin/sh updated link to bash:/bin/bash link to dash:/bin/dash",
		"file /etc/mode updated file 0644, 0 bytes, e3b0c44298fc file 0755, 0 bytes, e3b0c44298fc",
		"file /etc/text updated file 0644, 1 bytes, 2d711642b726 file 0644, 1 bytes, a1fce4363854",
		"file /gone removed file 0644, 0 bytes, e3b0c44298fc ",
		"file /new added  folder 1777 of 7:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s\n%v", diff, slices.Sorted(maps.Keys(a.Files)))
	}
}
