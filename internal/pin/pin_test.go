package pin

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// In the tests OLD is a commit, and OLDHASH, OLDSRI, … are the hash of its tree; NEW
// and the like are those of the target, and DIGEST and NEWDIGEST are of images.
var (
	oldRev, newRev   = strings.Repeat("0a", 20), strings.Repeat("1b", 20)
	oldHash, newHash = nix.Hash(sha256.Sum256([]byte("old"))), nix.Hash(sha256.Sum256([]byte("new")))
	digest           = "sha256:" + strings.Repeat("0d", 32)
	newDigest        = "sha256:" + strings.Repeat("1e", 32)

	words = strings.NewReplacer(
		"OLDSRI", oldHash.SRI(), "NEWSRI", newHash.SRI(),
		"OLDHEX", oldHash.Base16(), "NEWHEX", newHash.Base16(),
		"OLDHASH", oldHash.Base32(), "NEWHASH", newHash.Base32(),
		"NEWDIGEST", newDigest, "DIGEST", digest, "OLD", oldRev, "NEW", newRev,
	)
)

func target(t testing.TB, channel string, images ...string) Target {
	t.Helper()
	rev, err := git.ParseRev(newRev)
	if err != nil {
		t.Fatal(err)
	}
	to := Target{Channel: channel, Rev: rev, NarHash: newHash, LastModified: 1790000000, Digests: map[string]string{}}
	for _, image := range images {
		to.Digests[words.Replace(image)] = newDigest
	}
	return to
}

type spotsCase struct {
	name, file string
	channel    string   // to move to
	images     []string // whose digests are known
	in, out    string
	left       []string // of spots that are left alone, a part of the reason
}

func (c spotsCase) run(t *testing.T) {
	t.Helper()
	in, want := words.Replace(c.in), words.Replace(c.out)
	spots, err := Find(c.file, []byte(in), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(spots) == 0 && c.in != c.out {
		t.Fatal("nothing found")
	}
	to := target(t, c.channel, c.images...)
	pinned, err := Pin([]File{{Name: c.file, Text: []byte(in), Spots: spots}}, to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(pinned[0].New)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var left []string
	for _, s := range pinned[0].Spots {
		if s.Left != "" {
			left = append(left, s.Left)
		}
		if s.Line < 1 || s.What == "" {
			t.Errorf("a spot has no line or no name: %+v", s)
		}
	}
	if len(left) != len(c.left) {
		t.Fatalf("left alone: %q, want %q", left, c.left)
	}
	for i := range left {
		if !strings.Contains(left[i], c.left[i]) {
			t.Errorf("left alone: %q, want %q", left[i], c.left[i])
		}
	}
	settled(t, c.file, pinned[0].New, to)
}

// settled fails if what was pinned would be changed again.
func settled(t *testing.T, name string, text []byte, to Target) {
	t.Helper()
	spots, err := Find(name, text, Options{})
	if err != nil {
		t.Fatalf("after pinning: %v", err)
	}
	again, err := Pin([]File{{Name: name, Text: text, Spots: spots}}, to)
	if err != nil {
		t.Fatalf("after pinning: %v", err)
	}
	if !bytes.Equal(again[0].New, text) {
		t.Errorf("pinned twice it differs:\n%s\nand\n%s", text, again[0].New)
	}
}

func runAll(t *testing.T, cases []spotsCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}

// fuzz holds what is true of every file: what is found in it can be changed, bytes
// outside of the edits stay, and to pin twice is to pin once.
func fuzz(f *testing.F, name string, seeds []spotsCase) {
	for _, c := range seeds {
		f.Add([]byte(words.Replace(c.in)))
		f.Add([]byte(words.Replace(c.out)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		spots, err := Find(name, text, Options{})
		if !bytes.Equal(before, text) {
			t.Fatal("the file was written to")
		}
		if err != nil {
			return
		}
		to := target(t, "")
		for _, s := range spots {
			if repository, tag := s.Image("", to.Rev); repository != "" {
				to.Digests[repository+":"+tag] = newDigest
			}
			for _, field := range s.fields {
				if s.Left == "" && string(text[field.start:field.end]) != field.old {
					t.Fatalf("at %d there is %q, not %q", field.start, text[field.start:field.end], field.old)
				}
			}
		}
		pinned, err := Pin([]File{{Name: name, Text: text, Spots: spots}}, to)
		if err != nil {
			t.Fatal(err)
		}
		var edits []Edit
		for _, s := range pinned[0].Spots {
			more, err := s.Edits(to)
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, more...)
		}
		if got := undo(t, pinned[0].New, text, edits); !bytes.Equal(got, text) {
			t.Errorf("bytes outside of the edits changed:\n%q\n%q", text, got)
		}
		settled(t, name, pinned[0].New, to)
	})
}

// undo takes the edits back.
func undo(t *testing.T, text, before []byte, edits []Edit) []byte {
	t.Helper()
	back, moved, seen := []Edit(nil), 0, map[int]bool{}
	for i := 0; i <= len(before); i++ {
		for _, e := range edits {
			if e.Start != i || seen[i] {
				continue
			}
			seen[i] = true
			back = append(back, Edit{e.Start + moved, e.Start + moved + len(e.New), string(before[e.Start:e.End])})
			moved += len(e.New) - (e.End - e.Start)
		}
	}
	out, err := Apply(text, back)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKnows(t *testing.T) {
	for name, want := range map[string]bool{
		"Dockerfile": true, "a/dockerfile": true, "Dockerfile.ci": true, "ci.Dockerfile": true, "Containerfile": true,
		"compose.yml": true, ".gitlab-ci.yaml": true, "nix/sources.json": true, "flake.lock": true, "shell.nix": true,
		".devcontainer/devcontainer.json": true, ".devcontainer.json": true,
		"flake.nix": false, "package.json": false, "README.md": false, "Dockerfilex": false,
	} {
		if got := Knows(name); got != want {
			t.Errorf("Knows(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestApplyRefusesWhatTouches(t *testing.T) {
	for _, edits := range [][]Edit{
		{{0, 3, "x"}, {2, 4, "y"}},
		{{0, 3, "x"}, {0, 3, "y"}},
		{{2, 2, "x"}, {2, 2, "y"}},
		{{0, 9, "x"}},
	} {
		if got, err := Apply([]byte("abcdef"), edits); err == nil {
			t.Errorf("Apply(%v) = %q, want an error", edits, got)
		}
	}
	got, err := Apply([]byte("abcdef"), []Edit{{4, 5, "E"}, {1, 2, "B"}, {4, 5, "E"}, {6, 6, "!"}})
	if err != nil || string(got) != "aBcdEf!" {
		t.Errorf("Apply = %q, %v", got, err)
	}
}

func TestDigestThatIsNotKnown(t *testing.T) {
	text := words.Replace("FROM org/nixpkgs-nixos-26.05:OLD@DIGEST\n")
	spots, err := Find("Dockerfile", []byte(text), Options{})
	if err != nil || len(spots) != 1 {
		t.Fatal(spots, err)
	}
	if _, err := spots[0].Edits(target(t, "")); err == nil || !strings.Contains(err.Error(), "org/nixpkgs-nixos-26.05:"+newRev) {
		t.Errorf("Edits: %v", err)
	}
}

func TestRepositoryOfAnotherName(t *testing.T) {
	text := []byte(words.Replace("FROM example.org/base:OLD-slim\nFROM example.org/other:OLD\n"))
	spots, err := Find("Dockerfile", text, Options{Repository: "example.org/base"})
	if err != nil || len(spots) != 1 || spots[0].Rev != oldRev || spots[0].Suffix() != "-slim" {
		t.Fatal(spots, err)
	}
	if repository, tag := spots[0].Image("nixos-26.11", target(t, "").Rev); repository != "example.org/base" || tag != newRev+"-slim" {
		t.Errorf("Image = %s, %s", repository, tag)
	}
}

func TestNamed(t *testing.T) {
	for ref, want := range map[string]string{
		"ghcr.io/org/nixpkgs-nixos-26.05":                 "ghcr.io/org/nixpkgs-nixos-26.11 ",
		"h:5000/nixpkgs-nixos-26.05:latest-slim":          "h:5000/nixpkgs-nixos-26.11 latest-slim -slim",
		"example.org/base:" + oldRev + "@" + digest:       "example.org/base " + oldRev,
		"oci:registry:nixpkgs-nixos-26.05:latest":         "",
		"ghcr.io/org/nixpkgs-nixos-26.05:latest, or what": "",
	} {
		spot, ok := Named(ref)
		got := ""
		if ok {
			repository, _ := spot.Image("nixos-26.11", target(t, "").Rev)
			got = strings.TrimSuffix(repository+" "+spot.Tag()+" "+spot.Suffix(), " ")
		}
		if got != want {
			t.Errorf("Named(%q) is %q, want %q", ref, got, want)
		}
	}
}

func TestLeaveOthers(t *testing.T) {
	find := func(name, text string) File {
		spots, err := Find(name, []byte(words.Replace(text)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return File{Name: name, Spots: spots}
	}
	niv := find("sources.json", `{"a": {"owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "branch": "nixos-26.05"},
		"b": {"owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "branch": "nixos-unstable"}}`)
	image := find("Dockerfile", "FROM org/nixpkgs-nixos-26.05:NEW\n")
	reasons := func(files []File) (left []string) {
		for _, f := range files {
			for _, s := range f.Spots {
				left = append(left, s.Left)
			}
		}
		return left
	}
	for _, c := range []struct {
		files  []File
		target string
		moves  bool
		want   []string
	}{
		{[]File{niv, image}, "nixos-26.05", false, []string{"", "it follows nixos-unstable", ""}},
		{[]File{niv, image}, "nixos-unstable", false, []string{"it follows nixos-26.05", "", "it follows nixos-26.05"}},
		{[]File{niv, image}, "nixos-26.11", true, []string{"", "it follows nixos-unstable", ""}},
		{[]File{niv, find("Dockerfile", "FROM org/nixpkgs-nixos-26.05:OLD\n")}, "nixos-26.05", false, []string{"", "", ""}},
		{[]File{niv}, "nixos-unstable", true, []string{"it follows nixos-26.05", ""}},
		{[]File{{Name: "one", Spots: niv.Spots[:1]}}, "nixos-26.11", false, []string{"it follows nixos-26.05"}},
		{[]File{{Name: "one", Spots: niv.Spots[:1]}}, "nixos-26.11", true, []string{""}},
	} {
		if diff := cmp.Diff(c.want, reasons(LeaveOthers(c.files, c.target, c.moves))); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.target, diff)
		}
	}
	if niv.Spots[1].Left != "" {
		t.Error("LeaveOthers wrote into its argument")
	}
	if got := FirstRev([]File{niv, image}); got != newRev {
		t.Errorf("FirstRev = %s, want the image's", got)
	}
}
