package git

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const sample = "0123456789abcdef0123456789abcdef01234567"

func TestParse(t *testing.T) {
	rev, err := ParseRev(sample)
	if err != nil || rev.String() != sample || rev.IsZero() || rev.Short(12) != sample[:12] {
		t.Errorf("ParseRev(%q) = %v, %v", sample, rev, err)
	}
	tree, err := ParseTreeID(sample)
	if err != nil || tree.String() != sample || tree.IsZero() {
		t.Errorf("ParseTreeID(%q) = %v, %v", sample, tree, err)
	}
	var none Rev
	if !none.IsZero() || none.String() != "" || none.Short(12) != "" {
		t.Errorf("the zero value is %q, want none", none)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", sample[1:], sample + "0", strings.ToUpper(sample), " " + sample[1:], sample[:20] + "g" + sample[21:], "nixos-unstable"} {
		if rev, err := ParseRev(s); err == nil || !rev.IsZero() || !strings.Contains(err.Error(), "is not a revision (want 40 digits of lower-case hex)") {
			t.Errorf("ParseRev(%q) = %v, %v", s, rev, err)
		}
		if tree, err := ParseTreeID(s); err == nil || !tree.IsZero() || !strings.Contains(err.Error(), "is not a git tree") {
			t.Errorf("ParseTreeID(%q) = %v, %v", s, tree, err)
		}
	}
}

func TestJSON(t *testing.T) {
	type both struct {
		Rev  Rev    `json:"rev"`
		Tree TreeID `json:"tree"`
		Gone Rev    `json:"gone,omitzero"`
	}
	for _, text := range []string{`{"rev":"` + sample + `","tree":"` + sample + `"}`, `{"rev":"","tree":""}`} {
		var b both
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(b); err != nil || string(got) != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
	for _, text := range []string{`{"rev":"abc"}`, `{"tree":"abc"}`} {
		b := both{}
		if err := json.Unmarshal([]byte(text), &b); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

var fullPattern = regexp.MustCompile(`\A[0-9a-f]{40}\z`)

func FuzzParseRev(f *testing.F) {
	for _, s := range []string{"", sample, sample[1:], strings.ToUpper(sample), sample + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rev, err := ParseRev(s)
		if (err == nil) != fullPattern.MatchString(s) || err == nil && rev.String() != s {
			t.Errorf("ParseRev(%q) = %v, %v", s, rev, err)
		}
	})
}

// The ids are those that git hash-object and git mktree give.
func TestObjectIDs(t *testing.T) {
	empty := BlobID("")
	if got := TreeIDOf(empty).String(); got != "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" {
		t.Errorf("an empty file is %s", got)
	}
	if got := TreeIDOf(TreeObjectID(nil)).String(); got != "4b825dc642cb6eb9a060e54bf8d69288fbee4904" {
		t.Errorf("an empty tree is %s", got)
	}
	below := TreeObjectID([]Entry{{"x", File, empty}})
	entries := []Entry{{"a", Folder, below}, {"b", Link, BlobID("a")}, {"a.b", Executable, empty}, {"a0", File, empty}}
	if got := TreeIDOf(TreeObjectID(entries)).String(); got != "2f30e3fc5e93de83f25be29945637f5693b20592" {
		t.Errorf("the tree is %s", got)
	}
}
