package evaluator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	digestA = "0123456789abcdfghijklmnpqrsvwxyz"
	digestB = "1123456789abcdfghijklmnpqrsvwxyz"
)

func TestNamed(t *testing.T) {
	path := func(digest string) nix.StorePath {
		p, err := nix.ParseStorePath("/nix/store/" + digest + "-nix-2.31.2")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	both := map[string]nix.StorePath{"x86_64-linux": path(digestA), "aarch64-linux": path(digestB)}
	for name, text := range map[string]string{
		"as in nixpkgs":     "{\n  x86_64-linux = \"A\";\n  aarch64-linux = \"B\";\n}\n",
		"in one line":       `{x86_64-linux="A";aarch64-linux="B";}`,
		"comments":          "# one\n/* two\n ** */{ /**/ x86_64-linux /* = */ = # \"\n\"A\" /* ; */ ; aarch64-linux = \"B\";} # the end",
		"the end of a line": "{\r\n\tx86_64-linux = \"A\";\r\n\taarch64-linux = \"B\";\r\n}\r\n",
	} {
		got, err := Named(named(text))
		if diff := cmp.Diff(both, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if got, err := Named([]byte("{ }")); len(got) != 0 || err != nil {
		t.Errorf("an empty set: %v, %v", got, err)
	}
}

func named(text string) []byte {
	return []byte(strings.NewReplacer(`"A"`, `"/nix/store/`+digestA+`-nix-2.31.2"`, `"B"`, `"/nix/store/`+digestB+`-nix-2.31.2"`).Replace(text))
}

// What is not of the shape is refused, by the line that is at fault.
func TestNamedRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "1: want {, found the end of the file"},
		{"x: { }", `1: want {, found "x: { }"`},
		{"{\n", "2: want a system or }, found the end of the file"},
		{"{ }\n{ }", `2: "{ }" after the end of the set`},
		{"{\n x86_64-linux = \"A\"\n}", `3: want ;, found "}"`},
		{"{\n x86_64-linux = \"A\";\n x86_64-linux = \"B\";\n}", "3: a second x86_64-linux"},
		{"{\n \"x86_64-linux\" = \"A\";\n}", "2: want a system or }, found"},
		{"{\n x86_64-linux.a = \"A\";\n}", "2: want =, found"},
		{"{\n ${\"a\"} = \"A\";\n}", "2: want a system or }, found"},
		{"{\n a = builtins.readFile \"/etc/passwd\";\n}", `2: want ", found "builtins.readFile`},
		{"{\n a = ''A'';\n}", `2: want ", found`},
		{"{\n a = \"/nix/store/${b}\";\n}", "2: a: want a plain string in one line"},
		{"{\n a = \"\\A\";\n}", "2: a: want a plain string in one line"},
		{"{\n a = \"/nix/store/\n\";\n}", "2: a: want a plain string in one line"},
		{"{\n a = \"/nix/store/x", "2: a: want a plain string in one line"},
		{"{\n a = \"/gnu/store/" + digestA + "-nix-2\";\n}", `2: a: store path "/gnu/store/`},
		{"{\n a = \"/nix/store/" + digestA + "-nix-2/bin\";\n}", "2: a: store path"},
		{"{\n # one\n /* two", "3: a comment without an end"},
		{"rec { }", `1: want {, found "rec { }"`},
		{"{ inherit x; }", `1: want =, found "x; }"`},
		{"{ \x1b[31m }", `1: want a system or }, found`},
		{"{" + strings.Repeat(" ", MaxFallbackFile) + "}", fmt.Sprintf("1: the file has %d bytes, more than %d", MaxFallbackFile+2, MaxFallbackFile)},
	} {
		_, err := Named(named(tt.text))
		if err == nil || !strings.HasPrefix(err.Error(), FallbackFile+":"+tt.want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("Named(%.60q) = %v, want %s:%s", tt.text, err, FallbackFile, tt.want)
		}
	}
}

// Whatever is accepted means the same when it is written as nixpkgs writes it.
func FuzzNamed(f *testing.F) {
	for _, seed := range []string{
		"{ }", "{ x86_64-linux = \"A\"; }", "# a\n{\n  a-b_1 = \"A\"; /* b */ c = \"B\";\n}\n", "{ a = \"A\"; a = \"B\"; }", "{ /*/ }", "{ a = \"A", "{}#",
	} {
		f.Add(named(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		given := slices.Clone(text)
		paths, err := Named(text)
		if !slices.Equal(given, text) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			return
		}
		var plain strings.Builder
		plain.WriteString("{\n")
		for _, system := range slices.Sorted(maps.Keys(paths)) {
			fmt.Fprintf(&plain, "  %s = %q;\n", system, paths[system])
		}
		plain.WriteString("}\n")
		again, err := Named([]byte(plain.String()))
		if err != nil || !maps.Equal(paths, again) {
			t.Errorf("Named(%q) = %v, and written anew %v, %v", text, paths, again, err)
		}
	})
}
