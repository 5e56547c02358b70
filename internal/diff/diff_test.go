package diff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestSplitName(t *testing.T) {
	for full, want := range map[string][2]string{
		"glibc-2.40-66-bin":    {"glibc", "2.40-66"},
		"attic-client-0.1.0":   {"attic-client", "0.1.0"},
		"x-0-unstable-2026-01": {"x", "0-unstable-2026-01"},
		"nixpkgs-src":          {"nixpkgs-src", ""},
		"gcc-15.2.0-libgcc":    {"gcc", "15.2.0"},
		"a-":                   {"a-", ""},
	} {
		if name, version := splitName(full); name != want[0] || version != want[1] {
			t.Errorf("splitName(%q) = %q, %q, want %q", full, name, version, want)
		}
	}
}

func FuzzSplitName(f *testing.F) {
	for _, full := range []string{"glibc-2.40-66-bin", "nixpkgs-src", "a-", "-1", "", "x-1\ny-2"} {
		f.Add(full)
	}
	f.Fuzz(func(t *testing.T, full string) {
		name, version := splitName(full)
		if rest, ok := strings.CutPrefix(full, name); !ok || version != "" && !strings.HasPrefix(rest, "-"+version) || version == "" && rest != "" && !output.MatchString(rest) {
			t.Errorf("splitName(%q) = %q, %q", full, name, version)
		}
	})
}

func layer(name string, size int64) Layer {
	return Layer{Digest: v1.Hash{Algorithm: "sha256", Hex: name}, Size: size}
}

func TestDownload(t *testing.T) {
	a := []Layer{layer("a", 1), layer("b", 10), layer("c", 100)}
	b := []Layer{layer("a", 1), layer("n", 1000), layer("c", 100), layer("n", 1000)}
	want := &Download{ByDigest: Amount{1000, 1}, Classic: Amount{1100, 2}}
	if diff := cmp.Diff(want, download(a, b)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&Download{}, download(a, a)); diff != "" {
		t.Error(diff)
	}
}

func TestChanges(t *testing.T) {
	a := []Package{{"same", "1", "p1"}, {"up", "1", "p2"}, {"up", "2", "p3"}, {"gone", "", "p4"}, {"re", "1", "p5"}}
	b := []Package{{"re", "1", "q5"}, {"new", "3", "q6"}, {"up", "2", "p3"}, {"same", "1", "p1"}}
	want := []Change{
		{"gone", Removed, []string{}, []string{}},
		{"new", Added, []string{}, []string{"3"}},
		{"re", Rebuilt, []string{"1"}, []string{"1"}},
		{"up", Updated, []string{"1", "2"}, []string{"2"}},
	}
	if diff := cmp.Diff(want, changes(a, b)); diff != "" {
		t.Error(diff)
	}
}

func TestCompare(t *testing.T) {
	had := Part{System: "x86_64-linux", Digest: v1.Hash{Hex: "1"}, Layers: []Layer{layer("a", 1)}, Config: v1.Config{Env: []string{"E=", "P=1"}, User: "0"}}
	has := had
	has.Digest, has.Notes = v1.Hash{Hex: "2"}, []string{"unknown `|` <b>"}
	has.Config = v1.Config{Env: []string{"P=2"}, Cmd: []string{"sh", "-c"}}
	d := Compare(Image{Parts: []Part{had}}, Image{Parts: []Part{has, {System: "aarch64-linux"}}})
	if d.Same || len(d.Systems) != 2 || d.Systems[0].A != nil || d.Systems[0].Download != nil {
		t.Fatalf("Compare = %+v", d)
	}
	rows, _, _ := d.Systems[1].Rows()
	want := []Row{
		{"setting", "cmd", Added, "", `["sh","-c"]`}, {"setting", "env E", Removed, `""`, ""},
		{"setting", "env P", Updated, "1", "2"}, {"setting", "user", Removed, "0", ""},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	text := d.Markdown()
	for _, part := range []string{"- `B: unknown '\\|' <b>`\n", "no image → 0 B in 0 layers", "| setting | `env P` | updated | `1` | `2` |\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}
