package cycle_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// victim is the one store object in the release channel's next image that no
// other image has: what is wrong with it is wrong with that image only.
type victim struct {
	*world
	path nix.StorePath
	info nix.NARInfo
	key  nixtest.SecretKey
}

func newVictim(t testing.TB, s settings) *victim {
	t.Helper()
	v := &victim{world: newWorld(t, s)}
	rev := v.setHead(release, "release-leaf")
	var err error
	if v.path, err = nix.ParseStorePath(v.fixture.Outputs(rev, or(s.systems, foreign))["jq"][0]); err != nil {
		t.Fatal(err)
	}
	if v.key, err = nixtest.ParseSecretKey(v.fixture.SecretKey()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(v.fixture.CacheFolder(), v.path.Digest()+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	if v.info, err = nix.ParseNARInfo(data); err != nil {
		t.Fatal(err)
	}
	return v
}

// answers makes the cache answer for the victim's narinfo or NAR.
func (v *victim) answers(suffix string, send http.HandlerFunc) (remove func()) {
	return v.upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/cache/"+suffix {
			return false
		}
		send(w, r)
		return true
	})
}

func (v *victim) narinfo() string { return v.path.Digest() + ".narinfo" }

// TestBadNarinfos: the image is not published, and the error names the path and the cache.
func TestBadNarinfos(t *testing.T) {
	t.Parallel()
	stranger := nixtest.NewSecretKey("cache.standin-1", [32]byte{1})
	v := newVictim(t, settings{})
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	send := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
	}
	for _, tc := range []struct {
		name string
		send http.HandlerFunc
		want []string
	}{
		{"unsigned", send(v.infoWith(t, func(i *nix.NARInfo) { i.Sigs = nil })), []string{"sign"}},
		{"signed by another key of the same name", send(v.infoWith(t, func(i *nix.NARInfo) {
			i.Sigs = []nix.Signature{stranger.Sign(i.PathInfo)}
		})), []string{"sign"}},
		{"signed, then changed", send(v.infoWith(t, func(i *nix.NARInfo) { i.References = i.References[1:] })), []string{"sign"}},
		{"signed, with another size", send(v.infoWith(t, func(i *nix.NARInfo) { i.NarSize++ })), []string{"sign"}},
		{"for another path", func(w http.ResponseWriter, r *http.Request) {
			other := filepath.Base(v.fixture.Outputs(v.upstream.Head(release), foreign)["less"][0])
			http.ServeFile(w, r, filepath.Join(v.fixture.CacheFolder(), other[:32]+".narinfo"))
		}, []string{"less"}},
		{"empty", send(nil), nil},
		{"HTML", send([]byte("<html><body>login</body></html>\n")), nil},
		{"no final newline", send(bytes.TrimSuffix(v.infoWith(t, func(*nix.NARInfo) {}), []byte("\n"))), nil},
		{"401", status(401), []string{"401"}},
		{"500", status(500), []string{"500"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer v.answers(v.narinfo(), tc.send)()
			v.failsAlone(t, append(tc.want, v.path.Base(), v.upstream.Cache())...)
		})
	}
	v.recovers()
}

// infoWith is the victim's narinfo as the cache sends it, after a change.
func (v *victim) infoWith(t testing.TB, change func(*nix.NARInfo)) []byte {
	t.Helper()
	info := v.info
	change(&info)
	data, err := info.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A dependency that no cache has is not built behind the user's back.
func TestDependencyThatNoCacheHas(t *testing.T) {
	t.Parallel()
	v := newVictim(t, settings{})
	for _, ref := range v.info.References {
		if ref == v.path {
			continue
		}
		v.path = ref
		break
	}
	v.answers(v.narinfo(), http.NotFound)
	results := v.cycle()
	for _, r := range results {
		contains(t, "error", r.Error, v.path.Base(), v.upstream.Cache(), "not found", "needed by")
	}
	v.tidy()
}
