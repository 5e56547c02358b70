package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

func parsePath(t testing.TB, base string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePathBase(base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parseKey(t testing.TB, text string) nix.PublicKey {
	t.Helper()
	key, err := nix.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var (
	signer   = nixtest.NewSecretKey("test-1", [32]byte{1})
	stranger = nixtest.NewSecretKey("stranger-1", [32]byte{2})
	forger   = nixtest.NewSecretKey("test-1", [32]byte{3}) // another key under the name of signer
)

const helloBase = "gl8flrc8qca6dl5brvg4l03c1bqvkkwx-hello-2.12"

// narOf returns the signed info of a path with the given NAR, uncompressed.
func narOf(t testing.TB, base string, nar []byte, keys ...nixtest.SecretKey) nix.NARInfo {
	t.Helper()
	info := nix.NARInfo{URL: "nar/x.nar", Compression: "none"}
	info.Path = parsePath(t, base)
	info.NarHash, info.NarSize = sha(nar), int64(len(nar))
	info.References = []nix.StorePath{info.Path}
	for _, key := range keys {
		info.Sigs = append(info.Sigs, key.Sign(info.PathInfo))
	}
	return info
}

// text returns the narinfo file.
func text(t testing.TB, info nix.NARInfo) string {
	t.Helper()
	data, err := info.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// server is a binary cache: contents, or a status in digits, by path. It counts requests.
type server struct {
	url      string
	content  map[string]string
	mu       sync.Mutex
	counts   map[string]int
	encoding string // of NARs
}

func serve(t testing.TB, content map[string]string) *server {
	t.Helper()
	s := &server{content: content, counts: map[string]int{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.RequestURI(), "/")
	s.mu.Lock()
	s.counts[path]++
	s.mu.Unlock()
	body, found := s.content[path]
	var status int
	switch n, _ := fmt.Sscanf(body, "status %d", &status); {
	case !found:
		w.WriteHeader(http.StatusNotFound)
	case n == 1:
		w.WriteHeader(status)
	default:
		if s.encoding != "" && strings.HasPrefix(path, "nar/") {
			w.Header().Set("Content-Encoding", s.encoding)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	}
}

func (s *server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

func (s *server) trusting(keys ...nixtest.SecretKey) Substituter {
	sub := Substituter{URL: s.url}
	for _, key := range keys {
		sub.Keys = append(sub.Keys, key.Public())
	}
	return sub
}

// ask makes a Cache that gives up after two tries, without waiting.
func ask(subs ...Substituter) *Cache {
	return New(fetch.New(fetch.Options{Attempts: 2, Delay: time.Nanosecond}), subs)
}

func TestInfoOfTheRealCache(t *testing.T) {
	const base = "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432"
	s := serve(t, map[string]string{
		"nix-cache-info": "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n",
		"00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo": string(readTestdata(t, "00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo")),
	})
	key := parseKey(t, "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")
	info, err := ask(Substituter{URL: s.url, Keys: []nix.PublicKey{key}}).Info(t.Context(), parsePath(t, base))
	if err != nil {
		t.Fatal(err)
	}
	if info.Path.Base() != base || info.NarSize != 464152 || len(info.Sigs) != 1 ||
		info.NarHash.String() != "sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6" {
		t.Errorf("Info = %+v", info)
	}
	refs := []nix.StorePath{parsePath(t, "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27")}
	if diff := cmp.Diff(refs, info.References, cmp.Comparer(func(a, b nix.StorePath) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if _, err := ask(s.trusting(signer)).Info(t.Context(), parsePath(t, base)); err == nil {
		t.Error("trusted without the key")
	}
}

func TestInfo(t *testing.T) {
	p := parsePath(t, helloBase)
	file := p.Digest() + ".narinfo"
	nar := []byte("a NAR")
	good := narOf(t, helloBase, nar, signer)
	renamed := narOf(t, strings.Replace(helloBase, "hello", "hullo", 1), nar, signer)
	other := narOf(t, "rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1", nar, signer)
	resized := good
	resized.NarSize++
	ca := narOf(t, helloBase, nar)
	ca.References = nil
	ca.CA = "fixed:r:" + ca.NarHash.String()
	source, err := nix.SourcePath("source", sha(nar), nil)
	if err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name     string
		info     string // content of the narinfo
		path     nix.StorePath
		want     string // error; "": none
		notFound bool
	}{
		{name: "signed", info: text(t, good)},
		{name: "two signatures", info: text(t, narOf(t, helloBase, nar, stranger, signer))},
		{name: "unsigned", info: text(t, narOf(t, helloBase, nar)), want: helloBase + ": CACHE: not signed"},
		{name: "signed by a stranger", info: text(t, narOf(t, helloBase, nar, stranger)),
			want: helloBase + `: CACHE: no trusted signature: signed by "stranger-1"; trusted: "test-1"`},
		{name: "forged", info: text(t, narOf(t, helloBase, nar, forger)),
			want: helloBase + `: CACHE: no trusted signature: signed by "test-1" (signature does not match); trusted: "test-1"`},
		{name: "tampered", info: text(t, resized),
			want: helloBase + `: CACHE: no trusted signature: signed by "test-1" (signature does not match); trusted: "test-1"`},
		{name: "content address of another path", info: text(t, ca), want: helloBase + ": CACHE: content address"},
		{name: "content address", path: source, info: "StorePath: " + source.String() + "\nURL: x\nNarHash: " + sha(nar).String() +
			"\nNarSize: 5\nReferences: \nCA: fixed:r:" + sha(nar).String() + "\n"},
		{name: "other name", info: text(t, renamed), want: helloBase + ": CACHE: narinfo is for " + renamed.Path.Base()},
		{name: "other path", info: text(t, other), want: helloBase + ": CACHE: narinfo is for " + other.Path.Base()},
		{name: "cut off", info: strings.TrimSuffix(text(t, good), "\n"), want: helloBase + ": CACHE: narinfo: line"},
		{name: "web page", info: "<html>\n", want: helloBase + ": CACHE: narinfo: line 1"},
		{name: "too long", info: text(t, good) + "Sig: " + strings.Repeat("x", maxInfo) + "\n", want: helloBase + ": GET CACHE/" + file + ": "},
		{name: "404", info: "status 404", want: helloBase + ": not found in CACHE", notFound: true},
		{name: "403", info: "status 403", want: helloBase + ": not found in CACHE", notFound: true},
		{name: "410", info: "status 410", want: helloBase + ": not found in CACHE", notFound: true},
		{name: "401", info: "status 401", want: helloBase + ": GET CACHE/" + file + ": 401 Unauthorized"},
		{name: "407", info: "status 407", want: helloBase + ": GET CACHE/" + file + ": 407 Proxy Authentication Required"},
		{name: "500", info: "status 500", want: helloBase + ": GET CACHE/" + file + ": 500 Internal Server Error (2 attempts)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := p
			if !tt.path.IsZero() {
				path = tt.path
			}
			s := serve(t, map[string]string{"nix-cache-info": "", path.Digest() + ".narinfo": tt.info})
			info, err := ask(s.trusting(signer)).Info(t.Context(), path)
			if tt.want == "" {
				if err != nil || info.Path != path {
					t.Errorf("Info = %v, %v", info.Path, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), strings.ReplaceAll(tt.want, "CACHE", s.url)) {
				t.Errorf("Info: %v, want %q", err, tt.want)
			}
			if errors.Is(err, ErrNotFound) != tt.notFound {
				t.Errorf("errors.Is(%v, ErrNotFound) = %v", err, !tt.notFound)
			}
			if diff := cmp.Diff(nix.PathInfo{}, info, cmp.Comparer(func(a, b nix.StorePath) bool { return a == b })); diff != "" {
				t.Errorf("something is returned beside the error:\n%s", diff)
			}
		})
	}
}

func TestInfoFromSeveral(t *testing.T) {
	file := parsePath(t, helloBase).Digest() + ".narinfo"
	first, second := narOf(t, helloBase, []byte("first"), signer), narOf(t, helloBase, []byte("second"), signer)
	unsigned := narOf(t, helloBase, []byte("third"))
	tests := []struct {
		name     string
		contents []string
		want     string // NAR of the answer, or with "!" in front the error
		notFound bool
		asked    int // caches
	}{
		{"the first one counts", []string{text(t, first), text(t, second)}, "first", false, 1},
		{"not in the first", []string{"status 404", text(t, second)}, "second", false, 2},
		{"not trusted in the first", []string{text(t, unsigned), text(t, second)}, "second", false, 2},
		{"the first is broken", []string{"status 500", text(t, second)}, "second", false, 2},
		{"in none", []string{"status 404", "status 403"}, "!" + helloBase + ": not found in CACHE0, CACHE1", true, 2},
		{"not trusted, not in the second", []string{text(t, unsigned), "status 404"}, "!" + helloBase + ": CACHE0: not signed", false, 2},
		{"broken, not in the second", []string{"status 401", "status 404"}, "!" + helloBase + ": GET CACHE0/" + file + ": 401 Unauthorized", false, 2},
		{"not in the first, broken", []string{"status 404", "status 401"}, "!" + helloBase + ": GET CACHE1/" + file + ": 401 Unauthorized", false, 2},
		{"both bad", []string{text(t, unsigned), "status 401"}, "!" + helloBase + ": CACHE0: not signed; GET CACHE1/" + file + ": 401 Unauthorized", false, 2},
		{"no cache", nil, "!" + helloBase + ": not found in any binary cache: none is configured", true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var subs []Substituter
			var servers []*server
			want := tt.want
			for i, content := range tt.contents {
				s := serve(t, map[string]string{"nix-cache-info": "", file: content})
				servers, subs = append(servers, s), append(subs, s.trusting(signer))
				want = strings.ReplaceAll(want, fmt.Sprintf("CACHE%d", i), s.url)
			}
			info, err := ask(subs...).Info(t.Context(), parsePath(t, helloBase))
			if wantErr, ok := strings.CutPrefix(want, "!"); ok {
				if err == nil || err.Error() != wantErr || errors.Is(err, ErrNotFound) != tt.notFound {
					t.Errorf("Info: %v, want %q", err, wantErr)
				}
			} else if err != nil || info.NarHash != sha([]byte(want)) {
				t.Errorf("Info = %v, %v, want %q", info.NarHash, err, want)
			}
			asked := 0
			for _, s := range servers {
				asked += min(1, s.count(file))
			}
			if asked != tt.asked {
				t.Errorf("%d caches asked, want %d", asked, tt.asked)
			}
		})
	}
}

func TestKeysBelongToTheirCache(t *testing.T) {
	file := parsePath(t, helloBase).Digest() + ".narinfo"
	s := serve(t, map[string]string{file: text(t, narOf(t, helloBase, []byte("x"), stranger))})
	empty := serve(t, nil)
	_, err := ask(empty.trusting(stranger), s.trusting(signer)).Info(t.Context(), parsePath(t, helloBase))
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("Info: %v", err)
	}
}

func TestCacheInfo(t *testing.T) {
	tests := []struct {
		name, content, want string
	}{
		{"usual", "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", ""},
		{"silent", "WantMassQuery: 1\n", ""},
		{"missing", "status 404", ""},
		{"forbidden", "status 403", "GET CACHE/nix-cache-info: 403 Forbidden"},
		{"other store", "StoreDir: /gnu/store\n", `CACHE: cache is for the store "/gnu/store" (want "/nix/store")`},
		{"no cache at all", "status 401", "GET CACHE/nix-cache-info: 401 Unauthorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := map[string]string{"nix-cache-info": tt.content}
			var paths []nix.StorePath
			for _, name := range []string{"a", "b", "c"} {
				info := narOf(t, strings.Repeat(name, 32)+"-"+name, []byte(name), signer)
				paths = append(paths, info.Path)
				content[info.Path.Digest()+".narinfo"] = text(t, info)
			}
			s := serve(t, content)
			c := ask(s.trusting(signer))
			var wait sync.WaitGroup
			for _, p := range paths {
				wait.Go(func() {
					_, err := c.Info(t.Context(), p)
					if tt.want == "" && err != nil {
						t.Error(err)
					}
					want := p.Base() + ": " + strings.ReplaceAll(tt.want, "CACHE", s.url)
					if tt.want != "" && (err == nil || err.Error() != want || errors.Is(err, ErrNotFound)) {
						t.Errorf("Info: %v, want %q", err, want)
					}
				})
			}
			wait.Wait()
			if n := s.count("nix-cache-info"); n != 1 {
				t.Errorf("nix-cache-info was read %d times", n)
			}
		})
	}
}

// 403 of one path may mean that it is not there; of a cache that answers so to
// everything it means that nobody knows.
func TestForbidden(t *testing.T) {
	p := parsePath(t, helloBase)
	file := p.Digest() + ".narinfo"
	for _, tt := range []struct {
		name, before, after string // of nix-cache-info, when the cache is first used and later
		notFound            bool
	}{
		{"the path alone", "Priority: 40\n", "Priority: 40\n", true},
		{"everything", "status 403", "status 403", false},
		{"everything, from some moment on", "Priority: 40\n", "status 403", false},
		{"what is not there is 404", "status 404", "status 404", false},
		{"cannot be asked any more", "Priority: 40\n", "status 500", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := parsePath(t, strings.Repeat("0", 32)+"-other")
			content := map[string]string{"nix-cache-info": tt.before, file: "status 403", other.Digest() + ".narinfo": "status 404"}
			s := serve(t, content)
			c := ask(s.trusting(signer))
			c.Info(t.Context(), other) // makes the cache known
			content["nix-cache-info"] = tt.after
			for range 3 {
				_, err := c.Info(t.Context(), p)
				if err == nil || errors.Is(err, ErrNotFound) != tt.notFound || !strings.Contains(err.Error(), s.url) {
					t.Errorf("Info: %v, want an error that names the cache and matches ErrNotFound: %t", err, tt.notFound)
				}
				var missing *NotFoundError
				if errors.As(err, &missing) != tt.notFound || tt.notFound && missing.Path != p {
					t.Errorf("Info: %#v, want a *NotFoundError of the path: %t", err, tt.notFound)
				}
			}
			if n := s.count("nix-cache-info"); tt.notFound && n != 2 {
				t.Errorf("nix-cache-info was read %d times, want 2: at first, and because of the 403", n)
			}
		})
	}
}

// Signatures that nobody verified are not passed on.
func TestOnlyVerifiedSignatures(t *testing.T) {
	nar := []byte("a NAR")
	info := narOf(t, helloBase, nar, stranger, signer, forger)
	s := serve(t, map[string]string{info.Path.Digest() + ".narinfo": text(t, info)})
	got, err := ask(s.trusting(signer)).Info(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	if want := signer.Sign(info.PathInfo).String(); len(got.Sigs) != 1 || got.Sigs[0].String() != want {
		t.Errorf("signatures %v, want %s alone", got.Sigs, want)
	}
	// One that vouches for itself may have a signature that nobody knows.
	source, err := nix.SourcePath("source", sha(nar), nil)
	if err != nil {
		t.Fatal(err)
	}
	ca := nix.NARInfo{URL: "nar/x.nar", Compression: "none"}
	ca.Path, ca.NarHash, ca.NarSize, ca.CA = source, sha(nar), int64(len(nar)), "fixed:r:"+sha(nar).String()
	ca.Sigs = append(ca.Sigs, stranger.Sign(ca.PathInfo))
	s = serve(t, map[string]string{source.Digest() + ".narinfo": text(t, ca)})
	if got, err = ask(s.trusting(signer)).Info(t.Context(), source); err != nil || len(got.Sigs) != 0 {
		t.Errorf("signatures %v, %v, want none", got.Sigs, err)
	}
}

func TestBadCacheURL(t *testing.T) {
	for url, want := range map[string]string{
		"s3://bucket":               `GET s3://bucket/nix-cache-info: unknown URL scheme "s3" (want http, https or file)`,
		"https://%zz":               "(not a URL) is not the URL of a binary cache",
		"file:///no/such/folder":    "file:///no/such/folder: no such file or directory",
		"http://me:s3cr3t@[::1]:1/": "GET http://[::1]:1/nix-cache-info: ",
	} {
		_, err := ask(Substituter{URL: url}).Info(t.Context(), parsePath(t, helloBase))
		if err == nil || !strings.HasPrefix(err.Error(), helloBase+": "+want) || errors.Is(err, ErrNotFound) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("cache %q: %v, want %q", url, err, want)
		}
	}
}

func TestCacheURLs(t *testing.T) {
	info := narOf(t, helloBase, []byte("a NAR"), signer)
	s := serve(t, map[string]string{
		"deep/in/nix-cache-info":                     "",
		"deep/in/" + info.Path.Digest() + ".narinfo": text(t, info),
		"deep/in/nar/x.nar":                          "a NAR",
	})
	for _, suffix := range []string{"/deep/in", "/deep/in/", "/deep/in?priority=30", "/deep/in/?trusted=1#x"} {
		sub := s.trusting(signer)
		sub.URL += suffix
		if got, err := readNAR(t, ask(sub), info.PathInfo); string(got) != "a NAR" || err != nil {
			t.Errorf("%s: %q, %v", suffix, got, err)
		}
	}
}

func TestInfoIsAskedOnce(t *testing.T) {
	info := narOf(t, helloBase, []byte("a NAR"), signer)
	file := info.Path.Digest() + ".narinfo"
	arrived, proceed := make(chan struct{}), make(chan struct{})
	var requests atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/"+file {
			return
		}
		if requests.Add(1) == 1 {
			close(arrived)
		}
		<-proceed
		io.WriteString(w, text(t, info))
	}))
	defer h.Close()
	c := ask(Substituter{URL: h.URL, Keys: []nix.PublicKey{signer.Public()}})
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if got, err := c.Info(t.Context(), info.Path); err != nil || got.Path != info.Path {
				t.Errorf("Info = %v, %v", got.Path, err)
			}
		})
	}
	<-arrived
	close(proceed)
	wait.Wait()
	if _, err := c.Info(t.Context(), info.Path); err != nil || requests.Load() != 1 {
		t.Errorf("%d requests, %v", requests.Load(), err)
	}
}

// What one asker's impatience ends is not an error for the others.
func TestInfoAfterCancellation(t *testing.T) {
	info := narOf(t, helloBase, []byte("a NAR"), signer)
	file := info.Path.Digest() + ".narinfo"
	arrived := make(chan struct{})
	var requests atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/"+file {
			return
		}
		if requests.Add(1) == 1 {
			close(arrived)
			<-r.Context().Done()
			return
		}
		io.WriteString(w, text(t, info))
	}))
	defer h.Close()
	c := ask(Substituter{URL: h.URL, Keys: []nix.PublicKey{signer.Public()}})
	impatient, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := c.Info(impatient, info.Path); !errors.Is(err, context.Canceled) {
			t.Errorf("the impatient one gets %v", err)
		}
	})
	<-arrived
	for range 5 {
		wait.Go(func() {
			if _, err := c.Info(t.Context(), info.Path); err != nil {
				t.Errorf("the patient ones get %v", err)
			}
		})
	}
	cancel()
	wait.Wait()
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	nar := []byte("a NAR")
	info := narOf(t, helloBase, nar, signer)
	if err := os.Mkdir(filepath.Join(dir, "nar"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{info.Path.Digest() + ".narinfo": text(t, info), "nar/x.nar": string(nar)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := ask(Substituter{URL: "file://" + dir, Keys: []nix.PublicKey{signer.Public()}})
	got, err := readNAR(t, c, info.PathInfo)
	if !bytes.Equal(got, nar) || err != nil {
		t.Errorf("NAR = %q, %v", got, err)
	}
	_, err = c.Info(t.Context(), parsePath(t, "rwqwjii39d6l37yr4s8i15csyvwc4yln-lib-1"))
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("Info of a path that is not there: %v", err)
	}
}
