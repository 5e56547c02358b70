package nix

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
)

const (
	treeA16  = "03283c4767a122a35a36e1fb6920621d3bdc7d4a020ffc4c83d0373a10cf0ec6"
	treeA32  = "1ihfrw83ldyhhd6gq3q299yxqfqxc8h6kyz16rda68m1cx3kqa03"
	treeA64  = "Ayg8R2ehIqNaNuH7aSBiHTvcfUoCD/xMg9A3OhDPDsY="
	treeASRI = "sha256-" + treeA64
)

func mustHash(t testing.TB, s string) Hash {
	t.Helper()
	h, err := ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseHash(t *testing.T) {
	for name, text := range map[string]string{
		"base 16":            treeA16,
		"upper case base 16": strings.ToUpper(treeA16),
		"base 32":            treeA32,
		"base 64":            treeA64,
		"typed base 16":      "sha256:" + treeA16,
		"typed base 32":      "sha256:" + treeA32,
		"typed base 64":      "sha256:" + treeA64,
		"SRI":                treeASRI,
	} {
		t.Run(name, func(t *testing.T) {
			h := mustHash(t, text)
			for _, form := range []struct{ name, got, want string }{
				{"Base16", h.Base16(), treeA16},
				{"Base32", h.Base32(), treeA32},
				{"String", h.String(), "sha256:" + treeA32},
				{"SRI", h.SRI(), treeASRI},
			} {
				if form.got != form.want {
					t.Errorf("ParseHash(%q).%s() = %q, want %q", text, form.name, form.got, form.want)
				}
			}
		})
	}
}

func TestParseHashRejects(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                 "",
		"prefix only":             "sha256:",
		"algorithm only":          "sha256",
		"another algorithm":       "sha1:" + treeA16[:40],
		"another algorithm's SRI": "sha1-5Q34x33IL4rQdF39EaqLwHVV4ds=",
		"unknown algorithm":       "sha3:" + treeA16,
		"upper-case algorithm":    "SHA256:" + treeA16,
		"two prefixes":            "sha256:sha256:" + treeA16,
		"SRI in base 32":          "sha256-" + treeA32,
		"SRI without padding":     strings.TrimSuffix(treeASRI, "="),
		"SRI with an option":      treeASRI + "?x",
		"space in front":          " " + treeA32,
		"newline behind":          treeA32 + "\n",
		"newline in base 64":      treeA64[:20] + "\n" + treeA64[21:],
		"base 64 with spare bits": treeA64[:42] + "Z=",
		"url-safe base 64":        "sha256:" + strings.ReplaceAll(treeA64, "/", "_"),
		"letter e in base 32":     "e" + treeA32[1:],
		"letter g in base 16":     "g" + treeA16[1:],
		"one digit short":         treeA16[1:],
	} {
		if h, err := ParseHash(text); err == nil {
			t.Errorf("%s: ParseHash(%q) = %v, want an error", name, text, h)
		}
	}
}

func TestHashText(t *testing.T) {
	type document struct {
		Hash Hash `json:"hash"`
	}
	in := document{sha256.Sum256(nil)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"hash":"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}`; string(text) != want {
		t.Errorf("json is %s, want %s", text, want)
	}
	var out document
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("Unmarshal(%s) = %v, %v, want %v", text, out, err, in)
	}
	if err := json.Unmarshal([]byte(`{"hash":"md5:x"}`), &out); err == nil {
		t.Error("a malformed hash was accepted")
	}
	if in.Hash.IsZero() || !(Hash{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{treeA16, treeA32, treeA64, treeASRI, "sha256:" + treeA32, "sha1:x", "-", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			return
		}
		for _, text := range []string{h.String(), h.SRI(), h.Base16(), h.Base32()} {
			if again, err := ParseHash(text); err != nil || again != h {
				t.Errorf("ParseHash(%q) = %v, %v, want %v", text, again, err, h)
			}
		}
	})
}
