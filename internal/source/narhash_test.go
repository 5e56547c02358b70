package source

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

// hashAhead reads a good tar stream.
func hashAhead(t *testing.T, stream []byte) (root *node, s *spool, a *ahead) {
	t.Helper()
	s, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := newBuilder(t.Context(), s, Limits{}.withDefaults(), Early{})
	t.Cleanup(b.ahead.stop)
	if err := b.readMembers(&tarStream{r: bytes.NewReader(stream)}); err != nil {
		t.Fatal(err)
	}
	if root, err = b.finish(); err != nil {
		t.Fatal(err)
	}
	return root, s, b.ahead
}

// expectAhead holds what was hashed ahead against the NAR of the finished tree.
func expectAhead(t *testing.T, stream []byte, want bool) {
	t.Helper()
	root, s, a := hashAhead(t, stream)
	hash, size, ok, err := a.result(root)
	if ok != want || err != nil {
		t.Fatalf("known ahead: %v, %v, want %v", ok, err, want)
	}
	if !ok {
		return
	}
	var archive bytes.Buffer
	if err := (&Tree{root: root, spool: s}).WriteNAR(&archive); err != nil {
		t.Fatal(err)
	}
	if want := nix.Hash(sha256.Sum256(archive.Bytes())); hash != want || size != int64(archive.Len()) {
		t.Errorf("ahead, the NAR is %v (%d bytes), want %v (%d bytes)", hash, size, want, archive.Len())
	}
}

// What git archive makes is hashed ahead; otherwise the archive of nixpkgs takes longer.
func TestAheadOfGit(t *testing.T) {
	var stream bytes.Buffer
	if err := sourcetest.WriteTar(&stream, sourcetest.Options{Files: 3000, Bytes: 6_000_000}); err != nil {
		t.Fatal(err)
	}
	expectAhead(t, stream.Bytes(), true)
	expectAhead(t, tarOf(t, orders...), true)
	expectAhead(t, tarOf(t, regular("f", "lone")), true)
	for seed := range uint64(100) {
		expectAhead(t, tarOf(t, randomMembers(rand.New(rand.NewPCG(seed, 1)))...), true)
	}
}

// randomMembers are files and links, with the directories, in git's order.
func randomMembers(rng *rand.Rand) []member {
	var members []member
	for _, p := range randomPaths(rng) {
		switch {
		case strings.HasSuffix(p, "/"):
			members = append(members, dir(p))
		case rng.IntN(5) == 0:
			members = append(members, symlink(p, "x"))
		case rng.IntN(20) == 0:
			members = append(members, program(p, strings.Repeat(p, rng.IntN(20_000))))
		default:
			members = append(members, regular(p, strings.Repeat("x", rng.IntN(10))))
		}
	}
	return members
}

// What changes an entry that is hashed, or puts one before it, is noticed.
func TestAheadIsDropped(t *testing.T) {
	for name, members := range map[string][]member{
		"another file of the name":            {dir("t/"), regular("t/a", "1"), regular("t/b", ""), regular("t/a", "2")},
		"the same file again":                 {dir("t/"), regular("t/a", "1"), regular("t/a", "1")},
		"a link in place of a file":           {dir("t/"), regular("t/a", "1"), symlink("t/a", "b")},
		"a directory in place of a file":      {dir("t/"), regular("t/a", "1"), dir("t/a/"), regular("t/a/x", "1")},
		"a file in place of a directory":      {dir("t/"), dir("t/a/"), regular("t/a", "1")},
		"in place of the top-level entry":     {regular("t", "1"), dir("t/"), regular("t/a", "1")},
		"into an earlier directory":           {dir("t/"), dir("t/a/"), regular("t/a/x", ""), dir("t/b/"), regular("t/a/y", "")},
		"into an earlier implied directory":   {regular("t/a/x", ""), regular("t/b/y", ""), regular("t/a/y", "")},
		"deeper, at the same place in a walk": {dir("t/"), dir("t/a/"), regular("t/x0-", ""), dir("t/a/x0/")},
		"into an earlier held directory":      {dir("t/"), dir("t/a-/"), regular("t/b", ""), regular("t/a-/x", "")},
		"the order of a NAR":                  {dir("t/"), dir("t/a/"), regular("t/a.nix", "")},
		"no order":                            {dir("t/"), regular("t/b", ""), regular("t/a", "")},
		"a hard link before its target":       {dir("t/"), hardlink("t/a", "t/b"), regular("t/b", "1")},
		"such a link in a held directory":     {dir("t/"), dir("t/a-/"), hardlink("t/a-/x", "t/b"), regular("t/b", "1")},
		"such a link in place of a file":      {dir("t/"), regular("t/a", "1"), hardlink("t/a", "t/b"), regular("t/b", "1")},
		"another file in a held directory":    {dir("t/"), dir("t/a-/"), regular("t/a-/x", "1"), regular("t/a-/x", "2"), regular("t/b", "")},
		"an earlier target of a link's name":  {dir("t/"), regular("t/a", "1"), hardlink("t/b", "t/a"), regular("t/a", "2")},
	} {
		t.Run(name, func(t *testing.T) { expectAhead(t, tarOf(t, members...), false) })
	}
}

// Whatever the order made of an archive, what was hashed counts only for the very nodes, each at its depth.
func TestAheadOfAnotherTree(t *testing.T) {
	stream := tarOf(t, dir("t/"), dir("t/a/"), regular("t/b", "1"))
	for name, change := range map[string]func(root *node){
		"an equal node":    func(root *node) { n := *root.children[1]; root.children[1] = &n },
		"a node is deeper": func(root *node) { root.children[0].children, root.children = root.children[1:], root.children[:1] },
		"a node less":      func(root *node) { root.children = root.children[:1] },
		"a node more":      func(root *node) { root.children = append(root.children, &node{name: "c", kind: nar.Directory}) },
	} {
		t.Run(name, func(t *testing.T) {
			root, _, a := hashAhead(t, stream)
			if _, _, ok, err := a.result(root); !ok || err != nil {
				t.Fatalf("known ahead: %v, %v, want true", ok, err)
			}
			change(root)
			if _, _, ok, err := a.result(root); ok || err != nil {
				t.Errorf("known ahead of another tree: %v, %v, want false", ok, err)
			}
		})
	}
}

// Links to what has come, and directories that are only implied or come twice, change nothing of the order.
func TestAheadNevertheless(t *testing.T) {
	for name, members := range map[string][]member{
		"a hard link":           {dir("t/"), regular("t/a", "1"), hardlink("t/b", "t/a")},
		"implied directories":   {regular("t/a-1/b/x", "1"), regular("t/a/y", "2")},
		"a directory twice":     {dir("t/"), regular("t/a/x", "1"), dir("t/a/"), dir("t/"), regular("t/b", "2")},
		"an empty directory":    {dir("t/"), dir("t/a-/"), dir("t/a/")},
		"the folder above":      {dir("./"), dir("./t/"), regular("./t/a", "1")},
		"names that are spaced": {dir("t//"), regular("t/./a", "1")},
	} {
		t.Run(name, func(t *testing.T) { expectAhead(t, tarOf(t, members...), true) })
	}
}

// FuzzAhead reads members in any order, of any kind, under few names. Whatever was hashed ahead, the tree has
// the hash of the NAR that is written of it.
func FuzzAhead(f *testing.F) {
	f.Add([]byte{0, 3, 1, 12, 2, 20, 3, 28})
	f.Add([]byte{8, 3, 13, 12, 3, 20, 4, 28, 0, 0, 9})
	f.Add([]byte{0, 243, 247, 243})         // files replaced that are hashed
	f.Add([]byte{0, 248, 97, 248})          // the same with a hard link to one
	f.Add([]byte{0, 245, 1, 244, 247, 126}) // a file into a directory that is hashed
	names := []string{"t", "t/a", "t/a-", "t/a.b", "t/a/x", "t/a-/x", "t/a-/x.", "t/b", "t/b/c/d", "t/b/c-/d", "t/b/c", "t/a/x-/y"}
	tmp := f.TempDir()
	f.Fuzz(func(t *testing.T, script []byte) {
		var members []member
		for i, c := range script[:min(len(script), 40)] {
			text := string(rune('a' + i%26))
			name := names[int(c)%len(names)]
			switch c := int(c) / len(names); {
			case c < 6:
				members = append(members, dir(name+"/"))
			case c < 8:
				members = append(members, symlink(name, "x"))
			case c < 10:
				members = append(members, hardlink(name, names[(int(script[0])+c)%len(names)]))
			case c < 20:
				members = append(members, regular(name, strings.Repeat(text, c)))
			default: // makes those before it known to be in the spool
				members = append(members, program(name, strings.Repeat(text, blockSize+c)))
			}
		}
		tree, err := readTar(t.Context(), bytes.NewReader(tarOf(t, members...)), Options{Dir: tmp, Limits: Limits{}.withDefaults()})
		if err != nil {
			return
		}
		defer tree.Close()
		var archive bytes.Buffer
		if err := tree.WriteNAR(&archive); err != nil {
			t.Fatal(err)
		}
		if want := nix.Hash(sha256.Sum256(archive.Bytes())); tree.NarHash != want || tree.NarSize != int64(archive.Len()) {
			t.Errorf("NAR is %v (%d bytes), want %v (%d bytes)", tree.NarHash, tree.NarSize, want, archive.Len())
		}
	})
}
