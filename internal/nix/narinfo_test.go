package nix

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const appNARInfo = `StorePath: ` + appPath + `
URL: nar/1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f.nar.zst
Compression: zstd
FileHash: sha256:1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f
FileSize: 301
NarHash: sha256:11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv
NarSize: 832
References: gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1 rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1
Deriver: 0i4qq9v0lw7nzw7rj6hr9wg8pk1fg0vn-app-1.drv
Sig: ` + appSig + `
`

func appInfo(t testing.TB) NARInfo {
	info := NARInfo{
		PathInfo:    app(t),
		URL:         "nar/1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f.nar.zst",
		Compression: "zstd",
		FileHash:    "sha256:1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f",
		FileSize:    301,
	}
	info.Deriver = mustPath(t, "/nix/store/"+digestA+"-app-1.drv")
	return info
}

func TestNARInfo(t *testing.T) {
	got, err := ParseNARInfo([]byte(appNARInfo))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(appInfo(t), got); diff != "" {
		t.Errorf("ParseNARInfo (-want +got):\n%s", diff)
	}
	text, err := got.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(appNARInfo, string(text)); diff != "" {
		t.Errorf("MarshalText (-want +got):\n%s", diff)
	}
	if err := got.Trusted([]PublicKey{mustKey(t, vectorKey)}); err != nil {
		t.Errorf("Trusted: %v", err)
	}
}

// narinfoCase is one way to change appNARInfo.
type narinfoCase struct {
	name     string
	old, new string                  // what is replaced by what
	want     func(info NARInfo) bool // nil: it must be refused
}

func always(NARInfo) bool { return true }

func narinfoCases(t testing.TB) []narinfoCase {
	base16 := mustHash(t, "11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv").Base16()
	refs := "References: gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1 rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1\n"
	same := func(info NARInfo) bool { return cmp.Equal(info, appInfo(t)) }
	noRefs := func(info NARInfo) bool { return info.References == nil }
	noDeriver := func(info NARInfo) bool { return info.Deriver.IsZero() }
	bzip2 := func(info NARInfo) bool { return info.Compression == "bzip2" }
	return []narinfoCase{
		{"as it is", "", "", same},
		{"unknown key", "URL:", "Color: blue\nURL:", same},
		{"unknown key twice", "URL:", "Color: blue\nColor: blue\nURL:", same},
		{"legacy system", "URL:", "System: x86_64-linux\nURL:", same},
		{"another order", "NarSize: 832\n" + refs, refs + "NarSize: 832\n", same},
		{"references unsorted", refs, "References: rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1  gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1\n", same},
		{"references repeated", refs, strings.TrimSuffix(refs, "\n") + " rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1\n", same},
		{"references empty", refs, "References: \n", noRefs},
		{"references absent", refs, "", noRefs},
		{"references field twice", refs, refs + refs, nil},
		{"reference with a folder", refs, "References: " + libPath + "\n", nil},
		{"reference malformed", refs, "References: lib-1\n", nil},
		{"NAR hash in base 16", "11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv", base16, same},
		{"NAR hash as SRI", "sha256:11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv",
			mustHash(t, base16).SRI(), same},
		{"NAR hash without algorithm", "NarHash: sha256:", "NarHash: ", nil},
		{"NAR hash by md5", "NarHash: sha256:11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv",
			"NarHash: md5:1534a3d3be73e5f6cbdd65dd42ce991b", nil},
		{"NAR hash short", "NarHash: sha256:1", "NarHash: sha256:", nil},
		{"NAR hash absent", "NarHash: ", "Nothing: ", nil},
		{"NAR size 0", "NarSize: 832", "NarSize: 0", nil},
		{"NAR size negative", "NarSize: 832", "NarSize: -832", nil},
		{"NAR size signed", "NarSize: 832", "NarSize: +832", nil},
		{"NAR size in hex", "NarSize: 832", "NarSize: 0x340", nil},
		{"NAR size with a unit", "NarSize: 832", "NarSize: 832 B", nil},
		{"NAR size beyond 63 bits", "NarSize: 832", "NarSize: 9223372036854775808", nil},
		{"NAR size empty", "NarSize: 832", "NarSize: ", nil},
		{"NAR size absent", "NarSize: 832\n", "", nil},
		{"NAR size twice", "NarSize: 832\n", "NarSize: 832\nNarSize: 832\n", nil},
		{"store path absent", "StorePath: ", "Nothing: ", nil},
		{"store path twice", "URL:", "StorePath: " + appPath + "\nURL:", nil},
		{"store path as a base name", "StorePath: /nix/store/", "StorePath: ", nil},
		{"store path elsewhere", "StorePath: /nix/", "StorePath: /gnu/", nil},
		{"store path with a file", appPath + "\n", appPath + "/bin\n", nil},
		{"URL absent", "URL: ", "Nothing: ", nil},
		{"URL empty", "URL: nar/1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f.nar.zst", "URL: ", nil},
		{"URL with a query", ".nar.zst", ".nar.zst?hash=x", func(info NARInfo) bool { return strings.HasSuffix(info.URL, "?hash=x") }},
		{"URL with a space", ".nar.zst", ".nar .zst", nil},
		{"URL with NUL", ".nar.zst", ".nar\x00.zst", nil},
		{"compression absent", "Compression: zstd\n", "", bzip2},
		{"compression empty", "Compression: zstd", "Compression: ", bzip2},
		{"compression unknown", "Compression: zstd", "Compression: zpaq", func(info NARInfo) bool { return info.Compression == "zpaq" }},
		{"file hash absent", "FileHash: ", "Nothing: ", func(info NARInfo) bool { return info.FileHash == "" }},
		{"file hash of another kind", "FileHash: sha256:1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f",
			"FileHash: md5:1534a3d3be73e5f6cbdd65dd42ce991b", always},
		{"file hash malformed", "FileHash: sha256:1", "FileHash: sha256:", nil},
		{"file hash empty", "FileHash: sha256:1bnr0r4b6yd6mkhmhv5ai1g8cl98hhcbnhzkjz1nf4ch2ixsfb2f", "FileHash: ", nil},
		{"file size absent", "FileSize: 301\n", "", func(info NARInfo) bool { return info.FileSize == 0 }},
		{"file size malformed", "FileSize: 301", "FileSize: many", nil},
		{"deriver unknown", "Deriver: " + digestA + "-app-1.drv", "Deriver: unknown-deriver", noDeriver},
		{"deriver absent", "Deriver: " + digestA + "-app-1.drv\n", "", noDeriver},
		{"deriver empty", "Deriver: " + digestA + "-app-1.drv", "Deriver: ", nil},
		{"deriver malformed", "Deriver: " + digestA + "-app-1.drv", "Deriver: app", nil},
		{"deriver twice", "Sig:", "Deriver: unknown-deriver\nSig:", nil},
		{"signature malformed", "Sig: ", "Sig: nonsense\nSig: a:b\nSig: \nSig: ", same},
		{"signature twice", "Sig: " + appSig, "Sig: " + appSig + "\nSig: " + appSig, same},
		{"CA empty", "Sig:", "CA: \nSig:", same},
		{"CA", "Sig:", "CA: fixed:r:sha256:" + treeA16 + "\nSig:", func(info NARInfo) bool { return info.CA == "fixed:r:sha256:"+treeA32 }},
		{"CA twice", "Sig:", "CA: text:sha256:" + treeA32 + "\nCA: text:sha256:" + treeA32 + "\nSig:", nil},
		{"CA malformed", "Sig:", "CA: fixed:nonsense\nSig:", nil},
		{"CA of unknown kind", "Sig:", "CA: path:sha256:" + treeA32 + "\nSig:", nil},
		{"no newline at the end", "xDw==\n", "xDw==", nil},
		{"blank line", "URL:", "\nURL:", nil},
		{"blank line at the end", "xDw==\n", "xDw==\n\n", nil},
		{"line without a colon", "URL:", "hello\nURL:", nil},
		{"tab after the colon", "NarSize: ", "NarSize:\t", nil},
		{"no space after the colon", "NarSize: ", "NarSize:", nil},
		{"space in front of a key", "NarSize: ", " NarSize: ", nil},
		{"key in lower case", "NarSize: ", "narsize: ", nil},
		{"CRLF", "\n", "\r\n", nil},
		{"CRLF in an unknown line", "URL:", "Color: blue\r\nURL:", nil},
		{"empty", appNARInfo, "", nil},
		{"web page", appNARInfo, "<!doctype html>\n<title>Sign in: required</title>\n", nil},
	}
}

func (c narinfoCase) text() string { return strings.ReplaceAll(appNARInfo, c.old, c.new) }

func TestParseNARInfo(t *testing.T) {
	for _, c := range narinfoCases(t) {
		t.Run(c.name, func(t *testing.T) {
			if c.old != c.new && c.text() == appNARInfo {
				t.Fatalf("%q does not occur", c.old)
			}
			info, err := ParseNARInfo([]byte(c.text()))
			switch {
			case c.want == nil && err == nil:
				t.Errorf("ParseNARInfo accepts\n%s", c.text())
			case c.want != nil && err != nil:
				t.Errorf("ParseNARInfo: %v", err)
			case c.want != nil && !c.want(info):
				t.Errorf("ParseNARInfo = %+v", info)
			case err != nil && !strings.HasPrefix(err.Error(), "narinfo: "):
				t.Errorf("error is %q, want one that says narinfo", err)
			}
		})
	}
}

// TestParseNARInfoAgainstNix shows every case to the installed Nix:
// what it refuses is refused here. The reverse does not hold.
func TestParseNARInfoAgainstNix(t *testing.T) {
	nix, err := exec.LookPath("nix")
	if err != nil {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "nix-cache-info"), "StoreDir: /nix/store\n")
	accepted := 0
	for _, c := range narinfoCases(t) {
		writeFile(t, filepath.Join(dir, "gl8flrc8qca6dl5brvg4l03c1bqvkkwx.narinfo"), c.text())
		cmd := exec.Command(nix, "--extra-experimental-features", "nix-command",
			"path-info", "--json", "--store", "file://"+dir, appPath)
		cmd.Env = append(cmd.Environ(), "HOME="+t.TempDir(), "NIX_REMOTE=dummy://")
		out, refused := cmd.CombinedOutput()
		if refused != nil && c.want != nil {
			t.Errorf("%s: accepted here, refused by Nix:\n%s", c.name, out)
		}
		if refused == nil {
			accepted++
		}
	}
	if accepted == 0 {
		t.Error("Nix refused even the unchanged narinfo")
	}
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestParseNARInfoError(t *testing.T) {
	text := strings.Replace(appNARInfo, "NarSize: 832", "NarSize: much", 1)
	_, err := ParseNARInfo([]byte(text))
	if want := `narinfo: line 7: NarSize: "much" is not a number of bytes`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestMarshalNARInfoRejects(t *testing.T) {
	for name, edit := range map[string]func(*NARInfo){
		"no path":                func(n *NARInfo) { n.Path = StorePath{} },
		"no URL":                 func(n *NARInfo) { n.URL = "" },
		"no size":                func(n *NARInfo) { n.NarSize = 0 },
		"negative size":          func(n *NARInfo) { n.NarSize = -1 },
		"negative file size":     func(n *NARInfo) { n.FileSize = -1 },
		"newline in URL":         func(n *NARInfo) { n.URL = "a\nCA: b" },
		"newline in compression": func(n *NARInfo) { n.Compression = "xz\nColor: blue" },
		"newline in key name":    func(n *NARInfo) { n.Sigs[0].Name = "a\nColor: b" },
		"malformed CA":           func(n *NARInfo) { n.CA = "x" },
		"malformed file hash":    func(n *NARInfo) { n.FileHash = "x" },
	} {
		info := appInfo(t)
		edit(&info)
		if text, err := info.MarshalText(); err == nil {
			t.Errorf("%s: MarshalText wrote\n%s", name, text)
		}
	}
}

func BenchmarkParseNARInfo(b *testing.B) {
	text := []byte(appNARInfo)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseNARInfo(text); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseNARInfo(f *testing.F) {
	f.Add([]byte(appNARInfo))
	f.Add([]byte(strings.Replace(appNARInfo, "Sig: ", "CA: fixed:r:sha256:"+treeA16+"\nSig: x\nSig: ", 1)))
	f.Add([]byte(strings.Replace(appNARInfo, "Compression: zstd\n", "Compression: \nColor: blue\n", 1)))
	f.Add([]byte("StorePath: " + libPath + "\nURL: x\nNarHash: sha256:" + treeA16 + "\nNarSize: 1\nReferences: \n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := ParseNARInfo(data)
		if err != nil {
			return
		}
		text, err := info.MarshalText()
		if err != nil {
			t.Fatalf("MarshalText: %v", err)
		}
		again, err := ParseNARInfo(text)
		if err != nil {
			t.Fatalf("ParseNARInfo(MarshalText): %v", err)
		}
		if diff := cmp.Diff(info, again); diff != "" {
			t.Errorf("after a round trip (-want +got):\n%s", diff)
		}
		if info.NarSize <= 0 || info.Path.IsZero() || info.URL == "" {
			t.Errorf("incomplete: %+v", info)
		}
	})
}
