package nix

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
)

const (
	netToolsPath = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432"
	glibcPath    = "/nix/store/7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"
	appPath      = "/nix/store/gl8flrc8qca6dl5brvg4l03c1bqvkkwx-app-1"
	libPath      = "/nix/store/rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1"
	appSig       = "test-vec-1:Pg9enjVvJdxcJzlp22eVbm3j9SdqUhqbrxLmawYAQgXchU04YwL6w+LHLwHQZiiNAT2PCdsXITA3V2gDfp1xDw=="
)

// netTools is an object that cache.nixos.org signed.
func netTools(t testing.TB) PathInfo {
	return PathInfo{
		Path:       mustPath(t, netToolsPath),
		NarHash:    mustHash(t, "sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6"),
		NarSize:    464152,
		References: []StorePath{mustPath(t, glibcPath)},
		Sigs: []Signature{mustSig(t, "cache.nixos.org-1:"+
			"sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg==")},
	}
}

// app is an object signed with vectorSecret.
func app(t testing.TB) PathInfo {
	return PathInfo{
		Path:       mustPath(t, appPath),
		NarHash:    mustHash(t, "sha256:11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv"),
		NarSize:    832,
		References: []StorePath{mustPath(t, appPath), mustPath(t, libPath)},
		Sigs:       []Signature{mustSig(t, appSig)},
	}
}

func TestFingerprint(t *testing.T) {
	unsorted := app(t)
	unsorted.References = []StorePath{mustPath(t, libPath), mustPath(t, appPath), mustPath(t, libPath)}
	before := slices.Clone(unsorted.References)
	alone := app(t)
	alone.References = nil
	prefix := "1;" + appPath + ";sha256:11dxxigfb4ns79sk27caw6nvpjz7hh678i6wax7ds7z8gvx080pv;832;"
	tests := []struct {
		name string
		info PathInfo
		want string
	}{
		{"two references", app(t), prefix + appPath + "," + libPath},
		{"unsorted, repeated", unsorted, prefix + appPath + "," + libPath},
		{"no reference", alone, prefix},
		{"from cache.nixos.org", netTools(t), "1;" + netToolsPath +
			";sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6;464152;" + glibcPath},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.info.Fingerprint()); got != test.want {
				t.Errorf("fingerprint is %s, want %s", got, test.want)
			}
		})
	}
	if !slices.Equal(unsorted.References, before) {
		t.Errorf("Fingerprint changed the references to %v", unsorted.References)
	}
}

func TestSign(t *testing.T) {
	info := app(t)
	info.Sigs = nil
	if got := vectorSecret().Sign(info).String(); got != appSig {
		t.Errorf("signature is %s, want %s", got, appSig)
	}
}

func TestTrustedBySignature(t *testing.T) {
	good := []PublicKey{mustKey(t, cacheKey), mustKey(t, vectorKey)}
	_, keyData, _ := strings.Cut(vectorKey, ":")
	_, sigData, _ := strings.Cut(appSig, ":")
	forged := mustSig(t, "test-vec-1:"+strings.Repeat("A", 86)+"==")
	tests := []struct {
		name string
		keys []PublicKey
		edit func(*PathInfo)
		want string // part of the error; "" for none
	}{
		{"good", good, func(*PathInfo) {}, ""},
		{"unsorted references", good, func(p *PathInfo) { slices.Reverse(p.References) }, ""},
		{"repeated references", good, func(p *PathInfo) { p.References = append(p.References, p.References...) }, ""},
		{"deriver is not signed", good, func(p *PathInfo) { p.Deriver = p.Path }, ""},
		{"forged and good under one name", good, func(p *PathInfo) { p.Sigs = []Signature{forged, p.Sigs[0]} }, ""},
		{"two keys of one name", []PublicKey{mustKey(t, "test-vec-1:"+cacheKey[len("cache.nixos.org-1:"):]), good[1]},
			func(*PathInfo) {}, ""},
		{"another path", good, func(p *PathInfo) { p.Path = p.References[1] },
			`no trusted signature: signed by "test-vec-1" (signature does not match); trusted: "cache.nixos.org-1", "test-vec-1"`},
		{"another hash", good, func(p *PathInfo) { p.NarHash[0]++ }, "does not match"},
		{"another size", good, func(p *PathInfo) { p.NarSize++ }, "does not match"},
		{"one reference fewer", good, func(p *PathInfo) { p.References = p.References[:1] }, "does not match"},
		{"no signature", good, func(p *PathInfo) { p.Sigs = nil }, "not signed"},
		{"forged signature", good, func(p *PathInfo) { p.Sigs = []Signature{forged} }, "does not match"},
		{"another key", good[:1], func(*PathInfo) {}, `signed by "test-vec-1"; trusted: "cache.nixos.org-1"`},
		{"no key", nil, func(*PathInfo) {}, `signed by "test-vec-1"; trusted: no key at all`},
		{"same key under another name", []PublicKey{mustKey(t, "other:"+keyData)}, func(*PathInfo) {}, `trusted: "other"`},
		{"same signature under another name", good, func(p *PathInfo) { p.Sigs = []Signature{mustSig(t, "other:"+sigData)} },
			`signed by "other"`},
		{"key of that name with another value", []PublicKey{mustKey(t, "test-vec-1:"+cacheKey[len("cache.nixos.org-1:"):])},
			func(*PathInfo) {}, "does not match"},
		{"ultimate is not a signature", good, func(p *PathInfo) { p.Sigs, p.Ultimate = nil, true }, "not signed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info := app(t)
			test.edit(&info)
			checkTrust(t, info.Trusted(test.keys), test.want)
		})
	}
	checkTrust(t, netTools(t).Trusted(good), "")
}

func checkTrust(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("Trusted: %v, want nil", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("Trusted: %v, want an error with %q", err, want)
	}
}

// addressed returns an object whose path follows from its content address.
func addressed(t testing.TB, name string, ca ContentAddress, refs []StorePath, self bool) PathInfo {
	t.Helper()
	path, err := fixedPath(name, ca, refs, self)
	if err != nil {
		t.Fatal(err)
	}
	info := PathInfo{Path: path, NarHash: mustHash(t, treeA16), NarSize: 1248, References: refs, CA: ca.String()}
	if self {
		info.References = append([]StorePath{path}, refs...)
	}
	return info
}

func TestTrustedByContent(t *testing.T) {
	lib := []StorePath{mustPath(t, libPath)}
	tree := ContentAddress{Recursive: true, Algo: "sha256", Digest: digestOf(t, treeA16)}
	sum := sha256.Sum256([]byte("hello\n"))
	flat := ContentAddress{Algo: "sha256", Digest: sum[:]}
	text := ContentAddress{Text: true, Algo: "sha256", Digest: sum[:]}
	sha1 := ContentAddress{Recursive: true, Algo: "sha1", Digest: digestOf(t, "e50df8c77dc82f8ad0745dfd11aa8bc07555e1db")}
	keep := func(*PathInfo) {}
	tests := []struct {
		name   string
		info   PathInfo
		edit   func(*PathInfo)
		want   string // without a signature
		signed string // with a good one
	}{
		{"tree", addressed(t, "nixpkgs-src", tree, nil, false), keep, "", ""},
		{"tree with a reference", addressed(t, "a", tree, lib, false), keep, "", ""},
		{"tree with itself", addressed(t, "a", tree, lib, true), keep, "not signed", ""},
		{"flat", addressed(t, "a", flat, nil, false), keep, "not signed", ""},
		{"text", addressed(t, "a", text, lib, false), keep, "not signed", ""},
		{"tree by sha1", addressed(t, "a", sha1, nil, false), keep, "not signed", ""},
		{"another path", addressed(t, "a", tree, nil, false),
			func(p *PathInfo) { p.Path = lib[0] }, "belongs to /nix/store/", "belongs to /nix/store/"},
		{"reference left out", addressed(t, "a", tree, lib, false),
			func(p *PathInfo) { p.References = nil }, "belongs to", "belongs to"},
		{"itself left out", addressed(t, "a", tree, lib, true),
			func(p *PathInfo) { p.References = lib }, "belongs to", "belongs to"},
		{"another NAR hash", addressed(t, "a", tree, nil, false),
			func(p *PathInfo) { p.NarHash[0]++ }, "is not the NAR hash", "is not the NAR hash"},
		{"wrong flat", addressed(t, "a", flat, nil, false),
			func(p *PathInfo) { p.CA = tree.String() }, "belongs to", "belongs to"},
		{"flat with a reference", addressed(t, "a", flat, nil, false),
			func(p *PathInfo) { p.References = lib }, "references are not possible", "references are not possible"},
		{"malformed", addressed(t, "a", tree, nil, false),
			func(p *PathInfo) { p.CA = "fixed:git:sha1:x" }, "content address", "content address"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.edit(&test.info)
			checkTrust(t, test.info.Trusted(nil), test.want)
			key := vectorSecret()
			test.info.Sigs = []Signature{key.Sign(test.info)}
			checkTrust(t, test.info.Trusted([]PublicKey{key.Public()}), test.signed)
		})
	}
}
