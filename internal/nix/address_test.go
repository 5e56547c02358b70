package nix

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func digestOf(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSourcePath(t *testing.T) {
	tests := []struct{ name, nar, want string }{
		{"nixpkgs-src", treeA16, "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-nixpkgs-src"},
		{"source", treeA16, "4mnj59s0wk3al06m7pki7dxiay2i2qbl-source"},
		{"nixpkgs-src", strings.Repeat("0", 64), "28ay5y4snfz7wj462ir6skghr2i1577l-nixpkgs-src"},
		// the smallest NARs: empty file, "hello\n", the same executable, link to "a", empty directory
		{"nixpkgs-src", "77ac62e2629d8e45f624589c0c8bf99e24b3a722349bf1e79bc186008534e246", "23xiy7zlx8pbvp1vn4bfn17hv0xbcsf7-nixpkgs-src"},
		{"nixpkgs-src", "1c37d01af40be2e80691de3cc3df44377a699afbb17c68f080964b2fd071fc13", "lrlri849zm76f3ppdppgwryapm3h5qac-nixpkgs-src"},
		{"nixpkgs-src", "65436039d3f93ca19a8dbf1c60b15739ed58f53f14b8d372acc1b351533010fa", "alwvdpz50lk76a1r1iin53791iv5lnwa-nixpkgs-src"},
		{"nixpkgs-src", "b2d471a08d30662f14c0ae1e718b16f9fc1f38de425f47cca0437e9e93bc1f24", "i31gmw6wd47yc77r14fxck7vdrw5zmgj-nixpkgs-src"},
		{"nixpkgs-src", "a50a5ab6d992f5598edd92105059fae9acfc192981e08bd88534c2167e92526a", "957vw4b8va9yvj00nsfx3xpy5xjna6ja-nixpkgs-src"},
		// a small repository as git archive writes it
		{"nixpkgs-src", "c40a35c549fabe93fe9edffe607a55a8a904456430dd85d5abe479e6dc87cdbb", "d6jw36s8xfawpgq16112zypcdl7xqkz9-nixpkgs-src"},
		{"source", "1fydhzffcyg4mgaqbp9hci2h9ad8amx61znzkvz97gps972ka2n4", "9ab87nnnf879msn520s2k0g52rif5bk6-source"},
	}
	for _, test := range tests {
		got, err := SourcePath(test.name, mustHash(t, test.nar), nil)
		if err != nil || got.Base() != test.want {
			t.Errorf("SourcePath(%q, %s) = %v, %v, want %s", test.name, test.nar, got, err, test.want)
		}
	}
}

func TestTextPath(t *testing.T) {
	a, err := TextPath("a.txt", sha256.Sum256([]byte("hello")), nil)
	if want := "wzflyq5q9kjg4p27yck2nnispnblxsnh-a.txt"; err != nil || a.Base() != want {
		t.Fatalf("TextPath = %v, %v, want %s", a, err, want)
	}
	content := []byte("ref " + a.String() + "\n")
	b, err := TextPath("b.txt", sha256.Sum256(content), []StorePath{a})
	if want := "5d9xpv8mgwclvrq9zmjj4cssqnxy4fyc-b.txt"; err != nil || b.Base() != want {
		t.Errorf("TextPath = %v, %v, want %s", b, err, want)
	}
}

func TestPathReferenceOrder(t *testing.T) {
	a, b := mustPath(t, "/nix/store/"+digestA+"-a"), mustPath(t, "/nix/store/"+digestA+"-b")
	want, err := SourcePath("x", Hash{}, []StorePath{a, b})
	if err != nil {
		t.Fatal(err)
	}
	refs := []StorePath{b, a, b}
	got, err := SourcePath("x", Hash{}, refs)
	if err != nil || got != want {
		t.Errorf("with references in another order: %v, %v, want %v", got, err, want)
	}
	if !slices.Equal(refs, []StorePath{b, a, b}) {
		t.Errorf("the caller's references became %v", refs)
	}
	if without, err := SourcePath("x", Hash{}, nil); err != nil || without == want {
		t.Errorf("references do not count: %v, %v", without, err)
	}
}

// fixedVectors pairs content addresses with the base names that Nix gives them.
func fixedVectors(t testing.TB) []struct {
	name string
	ca   ContentAddress
	want string
} {
	hello := []byte("hello\n")
	sum1, sum256, sum512 := sha1.Sum(hello), sha256.Sum256(hello), sha512.Sum512(hello)
	return []struct {
		name string
		ca   ContentAddress
		want string
	}{
		{"nixpkgs-src", ContentAddress{Recursive: true, Algo: "sha256", Digest: digestOf(t, treeA16)}, "0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-nixpkgs-src"},
		{"nixpkgs-src", ContentAddress{Recursive: true, Algo: "sha1", Digest: digestOf(t, "e50df8c77dc82f8ad0745dfd11aa8bc07555e1db")}, "7sa0vaal2fwxhlk8rbxbwkjsd8fd87li-nixpkgs-src"},
		{"nixpkgs-src", ContentAddress{Recursive: true, Algo: "md5", Digest: digestOf(t, "1534a3d3be73e5f6cbdd65dd42ce991b")}, "ncnpbwqinsj7lrmbvjxyf0izvrql8h5c-nixpkgs-src"},
		{"a", ContentAddress{Algo: "sha256", Digest: sum256[:]}, "dsnln8dzp7a38dkfhk9p6pldgsb5jpr5-a"},
		{"hello.txt", ContentAddress{Algo: "sha256", Digest: sum256[:]}, "gy454w1cxaq731grqwylhzf4pp9r5izh-hello.txt"},
		{"a", ContentAddress{Algo: "sha1", Digest: sum1[:]}, "awd4jy664saj3xm7fq51z1zmfqamqw25-a"},
		{"x", ContentAddress{Algo: "sha512", Digest: sum512[:]}, "3a2kzi2fy9pic2qckp69k83cas9q5zky-x"},
		{"x", ContentAddress{Recursive: true, Algo: "sha512", Digest: sum512[:]}, "jhav7iazwc84npx222wanlq4z15x8j7b-x"},
	}
}

func TestFixedPath(t *testing.T) {
	for _, v := range fixedVectors(t) {
		got, err := FixedPath(v.name, v.ca, nil)
		if err != nil || got.Base() != v.want {
			t.Errorf("FixedPath(%q, %v) = %v, %v, want %s", v.name, v.ca, got, err, v.want)
		}
	}
}

// TestFixedPathAgainstNix asks the installed Nix for the same paths.
func TestFixedPathAgainstNix(t *testing.T) {
	nixStore, err := exec.LookPath("nix-store")
	if err != nil {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	for _, v := range fixedVectors(t) {
		args := []string{"--print-fixed-path"}
		if v.ca.Recursive {
			args = append(args, "--recursive")
		}
		args = append(args, v.ca.Algo, hex.EncodeToString(v.ca.Digest), v.name)
		cmd := exec.Command(nixStore, args...)
		cmd.Env = append(cmd.Environ(), "NIX_REMOTE=dummy://")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("nix-store %v: %v\n%s", args, err, out)
		}
		got, err := FixedPath(v.name, v.ca, nil)
		if want := strings.TrimSpace(string(out)); err != nil || got.String() != want {
			t.Errorf("FixedPath(%q, %v) = %v, %v; nix-store says %s", v.name, v.ca, got, err, want)
		}
	}
}

func TestPathRejects(t *testing.T) {
	ref := []StorePath{mustPath(t, "/nix/store/"+digestA+"-a")}
	sum := md5.Sum(nil)
	flat := ContentAddress{Algo: "md5", Digest: sum[:]}
	for name, make := range map[string]func() (StorePath, error){
		"empty name":           func() (StorePath, error) { return SourcePath("", Hash{}, nil) },
		"leading dot":          func() (StorePath, error) { return SourcePath(".git", Hash{}, nil) },
		"slash":                func() (StorePath, error) { return TextPath("a/b", Hash{}, nil) },
		"long name":            func() (StorePath, error) { return FixedPath(strings.Repeat("x", 212), flat, nil) },
		"flat with references": func() (StorePath, error) { return FixedPath("a", flat, ref) },
		"digest of no algorithm": func() (StorePath, error) {
			return FixedPath("a", ContentAddress{Algo: "sha256", Digest: sum[:]}, nil)
		},
		"unknown algorithm": func() (StorePath, error) {
			return FixedPath("a", ContentAddress{Algo: "crc32", Digest: sum[:]}, nil)
		},
		"text by md5": func() (StorePath, error) {
			return FixedPath("a", ContentAddress{Text: true, Algo: "md5", Digest: sum[:]}, nil)
		},
	} {
		if p, err := make(); err == nil {
			t.Errorf("%s: got %v, want an error", name, p)
		}
	}
}

func TestContentAddress(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"recursive", "fixed:r:sha256:" + treeA32, ""},
		{"flat", "fixed:sha256:" + treeA32, ""},
		{"text", "text:sha256:" + treeA32, ""},
		{"sha1", "fixed:r:sha1:vpjmajmj6f20rl2l1xq8jy7s7px8vipi", ""},
		{"base 16", "fixed:r:sha256:" + treeA16, "fixed:r:sha256:" + treeA32},
		{"base 64", "fixed:r:sha256:" + treeA64, "fixed:r:sha256:" + treeA32},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.text
			}
			ca, err := ParseContentAddress(test.text)
			if err != nil || ca.String() != want {
				t.Errorf("ParseContentAddress(%q) = %v, %v, want %s", test.text, ca, err, want)
			}
		})
	}
}

func TestParseContentAddressRejects(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":           "",
		"blank":             " ",
		"kind only":         "fixed",
		"unknown kind":      "path:sha256:" + treeA32,
		"git":               "fixed:git:sha256:" + treeA32,
		"no algorithm":      "fixed:" + treeA32,
		"no hash":           "fixed:r:sha256:",
		"SRI":               "fixed:r:" + treeASRI,
		"recursive text":    "text:r:sha256:" + treeA32,
		"text by sha1":      "text:sha1:vpjmajmj6f20rl2l1xq8jy7s7px8vipi",
		"unknown algorithm": "fixed:crc32:00000000",
		"short hash":        "fixed:sha256:" + treeA32[1:],
		"space behind":      "fixed:sha256:" + treeA32 + " ",
	} {
		if ca, err := ParseContentAddress(text); err == nil {
			t.Errorf("%s: ParseContentAddress(%q) = %v, want an error", name, text, ca)
		}
	}
}
