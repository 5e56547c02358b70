package nix

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const digestA = "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn"

func mustPath(t testing.TB, s string) StorePath {
	t.Helper()
	p, err := ParseStorePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseStorePath(t *testing.T) {
	for _, name := range []string{"a", "nixpkgs-src", "-", "_", "?", "=", "+", "A-Z+a-z_0.9?=", "glibc-2.40.lib..", strings.Repeat("x", 211)} {
		base := digestA + "-" + name
		p, err := ParseStorePath("/nix/store/" + base)
		if err != nil {
			t.Errorf("name %q: %v", name, err)
			continue
		}
		if p.Name() != name || p.Digest() != digestA || p.Base() != base || p.String() != "/nix/store/"+base {
			t.Errorf("parts of %q are %q, %q, %q", p, p.Base(), p.Digest(), p.Name())
		}
		if q, err := ParseStorePathBase(base); err != nil || q != p {
			t.Errorf("ParseStorePathBase(%q) = %v, %v, want %v", base, q, err, p)
		}
	}
}

func TestParseStorePathRejects(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                  "",
		"store folder":             "/nix/store",
		"store folder and slash":   "/nix/store/",
		"another store":            "/gnu/store/" + digestA + "-a",
		"relative":                 "nix/store/" + digestA + "-a",
		"space in front":           " /nix/store/" + digestA + "-a",
		"file inside":              "/nix/store/" + digestA + "-a/bin/sh",
		"slash behind":             "/nix/store/" + digestA + "-a/",
		"newline behind":           "/nix/store/" + digestA + "-a\n",
		"no name":                  "/nix/store/" + digestA + "-",
		"no hyphen":                "/nix/store/" + digestA,
		"wrong separator":          "/nix/store/" + digestA + "_a",
		"short digest":             "/nix/store/" + digestA[1:] + "-a",
		"letter e in digest":       "/nix/store/e" + digestA[1:] + "-a",
		"upper case in digest":     "/nix/store/" + strings.ToUpper(digestA) + "-a",
		"two-byte character":       "/nix/store/é" + digestA[2:] + "-a",
		"name of 212 bytes":        "/nix/store/" + digestA + "-" + strings.Repeat("x", 212),
		"dot":                      "/nix/store/" + digestA + "-.",
		"dot dot":                  "/nix/store/" + digestA + "-..",
		"leading dot":              "/nix/store/" + digestA + "-.a",
		"name with a space":        "/nix/store/" + digestA + "-a b",
		"name with NUL":            "/nix/store/" + digestA + "-a\x00",
		"name that is not ascii":   "/nix/store/" + digestA + "-ä",
		"dot dot behind the store": "/nix/store/../" + digestA + "-a",
	} {
		if p, err := ParseStorePath(text); err == nil {
			t.Errorf("%s: ParseStorePath(%q) = %v, want an error", name, text, p)
		}
	}
}

func TestParseStorePathError(t *testing.T) {
	_, err := ParseStorePath("/nix/store/" + digestA + "-a%b")
	want := `store path "/nix/store/` + digestA + `-a%b": name "a%b": bad character "%"`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestStorePathZero(t *testing.T) {
	var p StorePath
	if !p.IsZero() || p.String() != "" || p.Base() != "" || p.Digest() != "" || p.Name() != "" {
		t.Errorf("zero store path has parts: %q, %q, %q, %q", p, p.Base(), p.Digest(), p.Name())
	}
}

func TestStorePathText(t *testing.T) {
	in := map[string]StorePath{"a": mustPath(t, "/nix/store/"+digestA+"-a"), "none": {}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":"/nix/store/` + digestA + `-a","none":""}`; string(text) != want {
		t.Errorf("json is %s, want %s", text, want)
	}
	var out map[string]StorePath
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"a":"/etc"}`), &out); err == nil {
		t.Error("a malformed store path was accepted")
	}
}

func TestStorePathCompare(t *testing.T) {
	want := []StorePath{
		mustPath(t, "/nix/store/"+digestA+"-B"),
		mustPath(t, "/nix/store/"+digestA+"-a"),
		mustPath(t, "/nix/store/"+digestA+"-a-1"),
		mustPath(t, "/nix/store/"+digestA+"-a.1"),
		mustPath(t, "/nix/store/1"+digestA[1:]+"-A"),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, StorePath.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sorted (-want +got):\n%s", diff)
	}
}

func TestFindStorePaths(t *testing.T) {
	a, b := "/nix/store/"+digestA+"-a", "/nix/store/1"+digestA[1:]+"-b-1.0"
	tests := []struct {
		name, text string
		want       []StorePath
	}{
		{"nothing", "", nil},
		{"the store folder", "/nix/store /nix/store/", nil},
		{"one", a, []StorePath{mustPath(t, a)}},
		{"file inside", "x=" + a + "/bin/sh -c", []StorePath{mustPath(t, a)}},
		{"list, sorted, unique", b + "/bin:" + a + "/bin:" + b + "/sbin", []StorePath{mustPath(t, a), mustPath(t, b)}},
		{"in quotes and lines", "\"" + a + "\"\n'" + b + "'\n", []StorePath{mustPath(t, a), mustPath(t, b)}},
		{"store twice", "/nix/store/" + a, []StorePath{mustPath(t, a)}},
		{"no name", "/nix/store/" + digestA + "- x", nil},
		{"leading dot", "/nix/store/" + digestA + "-.. x", nil},
		{"bad digest", "/nix/store/E" + digestA[1:] + "-a", nil},
		{"cut off", "/nix/store/" + digestA, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, FindStorePaths(test.text)); diff != "" {
				t.Errorf("FindStorePaths(%q) (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

func FuzzParseStorePath(f *testing.F) {
	f.Add("/nix/store/" + digestA + "-nixpkgs-src")
	f.Add("/nix/store/" + digestA + "-..")
	f.Add("/nix/store/" + digestA + "-a/b")
	f.Add("/nix/store/")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseStorePath(s)
		if err != nil {
			return
		}
		if p.String() != s || StoreDir+"/"+p.Digest()+"-"+p.Name() != s {
			t.Errorf("ParseStorePath(%q) prints as %q, with the parts %q and %q", s, p, p.Digest(), p.Name())
		}
		if strings.ContainsAny(p.Base(), "/\x00\n ") || strings.HasPrefix(p.Name(), ".") || len(p.Base()) > 255 {
			t.Errorf("ParseStorePath(%q) has the unsafe base name %q", s, p.Base())
		}
		if found := FindStorePaths("x " + s + " x"); len(found) != 1 || found[0] != p {
			t.Errorf("FindStorePaths finds %v in %q", found, s)
		}
	})
}

func TestBaseNameText(t *testing.T) {
	const base = "0c9xjlyzj5jb8mz6rbf2aqj0kn7i3m4s-hello"
	for _, text := range []string{base, ""} {
		var b BaseName
		if err := b.UnmarshalText([]byte(text)); err != nil || b.IsZero() != (text == "") || b.Base() != text {
			t.Errorf("UnmarshalText(%q) = %v, %v", text, b, err)
		}
		if got, err := b.MarshalText(); err != nil || string(got) != text {
			t.Errorf("MarshalText of %q = %q, %v", text, got, err)
		}
	}
	var b BaseName
	if err := b.UnmarshalText([]byte(StoreDir + "/" + base)); err == nil {
		t.Errorf("a full path is taken for a base name: %v", b)
	}
}
