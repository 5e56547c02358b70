package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// nothing fails the test if a folder is not empty.
func nothing(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
}

// keyFile makes a key for Nix to sign with, and returns it as a setting of a store URL.
func keyFile(t *testing.T) (setting string, key nix.PublicKey) {
	t.Helper()
	secret := nixtest.NewSecretKey("factory-1", [32]byte{5})
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(secret.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return "secret-key=" + file, secret.Public()
}

// puts is a binary cache over HTTP that takes uploads, as a plain web server might.
func puts(t *testing.T) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	files := map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			files[r.URL.Path] = data
			w.WriteHeader(http.StatusCreated)
		} else if data, ok := files[r.URL.Path]; ok {
			w.Write(data)
		} else {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestStore: nix copy brings what upstream lacks to every kind of store, and
// Nix gets it back from there.
func TestStore(t *testing.T) {
	tests := []struct {
		name string
		url  func(*testing.T) (to, from string) // URL to push to and to substitute from, without the query
	}{
		{"file", func(t *testing.T) (string, string) {
			dir := t.TempDir()
			return "file://" + dir, "file://" + dir
		}},
		{"http", func(t *testing.T) (string, string) {
			s := puts(t)
			return s.URL, s.URL
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := realThing(t, "gitMinimal", "hello")
			git := r.builtHere(t, "git-minimal")
			to, from := tt.url(t)
			setting, key := keyFile(t)
			scratch := t.TempDir()
			target := Store{URL: to + "?compression=none&" + setting, Upstream: []string{r.key.Name()}, Dir: scratch}

			// git has to come with all that it refers to, although upstream has that.
			want := withReferences(append([]nix.PathInfo{git}, r.sources...), r.all())
			if len(want) == len(r.all()) || len(want) < 10 {
				t.Fatalf("%d of %d objects are needed", len(want), len(r.all()))
			}
			report, err := target.Push(t.Context(), r.all(), r)
			expect := Report{Pushed: len(want), Upstream: len(r.all()) - len(want), Bytes: size(want)}
			if err != nil || report != expect {
				t.Fatalf("Push = %+v, %v, want %+v", report, err, expect)
			}
			report, err = target.Push(t.Context(), r.all(), r)
			expect = Report{Present: len(want), Upstream: len(r.all()) - len(want)}
			if err != nil || report != expect {
				t.Errorf("second Push = %+v, %v, want %+v", report, err, expect)
			}
			nothing(t, scratch)

			store := newDebian(t)
			store.substitute(t, from, key, want)
			store.check(t, want)
		})
	}
}

// A store that Nix reads directly takes what was built here without a signature,
// and content-addressed objects stay so.
func TestStoreLocal(t *testing.T) {
	r := realThing(t, "hello")
	r.builtHere(t, "hello")
	store := newDebian(t)
	target := Store{URL: "local?root=" + store.dir + "/root&state=" + store.dir + "/root/nix/var/nix", Upstream: []string{r.key.Name()}}
	report, err := target.Push(t.Context(), r.all(), r)
	if err != nil || report.Pushed != len(r.all()) {
		t.Fatalf("Push = %+v, %v, want all %d", report, err, len(r.all()))
	}
	store.check(t, r.all())
}

func TestStoreNothingToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	shelf := few(t)
	report, err := Store{URL: "file:///nowhere", Upstream: []string{"cache.nixos.org-1"}}.Push(t.Context(), shelf.infos[:2], shelf)
	if want := (Report{Upstream: 2}); err != nil || report != want {
		t.Errorf("Push = %+v, %v, want %+v", report, err, want)
	}
}

// Nix on this machine may be told to use a proxy, which knows nothing of us.
func TestStorePastAProxy(t *testing.T) {
	newDebian(t).adopt(t)
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	t.Setenv("no_proxy", "internal.example.org")
	shelf := few(t)
	report, err := Store{URL: "file://" + t.TempDir()}.Push(t.Context(), shelf.infos, shelf)
	if err != nil || report.Pushed != 4 {
		t.Errorf("Push = %+v, %v", report, err)
	}
}

func TestStoreHostile(t *testing.T) {
	newDebian(t).adopt(t)
	t.Setenv("NIX_CONFIG", os.Getenv("NIX_CONFIG")+"\ndownload-attempts = 1")
	long := strings.Repeat("0123456789abcdef", 1<<16)
	tests := []struct {
		name   string
		url    string // "": a folder
		change func(*shelf, nix.PathInfo)
		want   string // BASE is the object
	}{
		{"wrong NAR", "", func(s *shelf, i nix.PathInfo) { s.nars[i.Path][5000] ^= 1 }, "copy: BASE: NAR hash is OTHER (want HASH)"},
		{"short NAR", "", func(s *shelf, i nix.PathInfo) { s.nars[i.Path] = s.nars[i.Path][:500_000] },
			"copy: BASE: NAR ends after 500000 of 1048688 bytes: unexpected EOF"},
		{"long NAR", "", func(s *shelf, i nix.PathInfo) { s.nars[i.Path] = append(s.nars[i.Path], 0) },
			"copy: BASE: NAR is longer than 1048688 bytes"},
		{"no NAR", "", func(s *shelf, i nix.PathInfo) { delete(s.nars, i.Path) }, "copy: BASE: there is no such NAR"},
		{"unknown scheme", "gopher://x", nil, "copy: nix: don't know how to open Nix store 'gopher://x'"},
		{"no server", "http://127.0.0.1:9", nil, "*"},
		{"a file in the way", "file:///dev/null", nil, "*"},
		{"password", "https://me:secret@cache", nil,
			"store URL has a password in it, which every user of the machine could see (Nix takes it from a netrc file)"},
		{"no URL", "https://me:secret@cache:port", nil, "store URL is not a URL"},
		{"an option", "--help", nil, "store URL starts with a hyphen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shelf := newShelf()
			info := shelf.add(t, "object", long)
			if tt.change != nil {
				tt.change(shelf, info)
			}
			dir, scratch := t.TempDir(), t.TempDir()
			target := Store{URL: tt.url, Dir: scratch}
			if tt.url == "" {
				target.URL = "file://" + dir
			}
			report, err := target.Push(t.Context(), shelf.infos, shelf)
			want := strings.NewReplacer("BASE", info.Path.Base(), "OTHER", sum(shelf.nars[info.Path]).String(), "HASH", info.NarHash.String()).Replace(tt.want)
			if err == nil || tt.want != "*" && err.Error() != want {
				t.Errorf("Push: %v\nwant: %s", err, want)
			}
			if err != nil && strings.Contains(err.Error()+target.Name(), "secret") {
				t.Errorf("password in %v or %s", err, target.Name())
			}
			if report.Pushed != 0 || report.Present != 0 {
				t.Errorf("report is %+v", report)
			}
			if found, _ := filepath.Glob(dir + "/*.narinfo"); len(found) != 0 {
				t.Errorf("the store has %v", found)
			}
			nothing(t, scratch)
			shelf.leaks(t)
		})
	}
}

func TestStoreWithoutNix(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	shelf := few(t)
	_, err := Store{URL: "file://" + t.TempDir()}.Push(t.Context(), shelf.infos, shelf)
	if want := "copy: nix: executable file not found in $PATH"; err == nil || err.Error() != want || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Push: %v, want %q", err, want)
	}
}

// blocked is Objects that never give a NAR.
type blocked struct{ asked chan struct{} }

func (b blocked) NAR(ctx context.Context, _ nix.PathInfo) (io.ReadCloser, error) {
	close(b.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestStoreCancelled(t *testing.T) {
	newDebian(t).adopt(t)
	shelf := newShelf()
	shelf.add(t, "object", "x")
	scratch := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	b := blocked{make(chan struct{})}
	go func() {
		<-b.asked
		cancel()
	}()
	if _, err := (Store{URL: "file://" + t.TempDir(), Dir: scratch}).Push(ctx, shelf.infos, b); !errors.Is(err, context.Canceled) {
		t.Errorf("Push: %v", err)
	}
	nothing(t, scratch)
}

func TestStoreTakesTooLong(t *testing.T) {
	newDebian(t).adopt(t)
	shelf := newShelf()
	shelf.add(t, "object", "x")
	b := blocked{make(chan struct{})}
	_, err := Store{URL: "file://" + t.TempDir(), Limit: 500 * time.Millisecond}.Push(t.Context(), shelf.infos, b)
	if want := "copy: nix: not done after 500ms"; err == nil || err.Error() != want {
		t.Errorf("Push: %v, want %q", err, want)
	}
}

// Only who knows the address gets anything from an offer.
func TestOffer(t *testing.T) {
	shelf := few(t)
	o, err := makeOffer(t.Context(), shelf.infos[:3], shelf)
	if err != nil {
		t.Fatal(err)
	}
	root := o.url[:strings.LastIndex(o.url, "/")]
	get := func(method, url string) string {
		t.Helper()
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", len(data))
	}
	bash, tool := shelf.infos[1], shelf.infos[3].Path.Digest()
	digest := bash.Path.Digest()
	var got []string
	for _, call := range []string{
		"GET " + root + "/nix-cache-info", "GET " + root + "/x/nix-cache-info",
		"GET " + o.url + "/nix-cache-info", "HEAD " + o.url + "/nar/" + digest + ".nar",
		"GET " + o.url + "/nar/" + digest, "GET " + o.url + "/nar/" + digest + ".nar",
		"GET " + o.url + "/nar/" + tool + ".nar", "GET " + o.url + "/" + tool + ".narinfo",
		"PUT " + o.url + "/" + digest + ".narinfo",
	} {
		method, url, _ := strings.Cut(call, " ")
		got = append(got, get(method, url))
	}
	want := []string{"404 19", "404 19", "200 38", "200 0", "404 19", fmt.Sprint("200 ", bash.NarSize), "404 19", "404 19", "405 19"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	taken, broken := o.close()
	if diff := cmp.Diff([]string{"bash-5.2"}, bases(taken)); diff != "" || broken != nil {
		t.Errorf("taken (-want +got):\n%s\nbroken: %v", diff, broken)
	}
	// A request whose connection came before the end, and whose turn came after it.
	late := httptest.NewRecorder()
	o.server.Handler.ServeHTTP(late, httptest.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/nar/"+digest+".nar", nil))
	if late.Code != http.StatusNotFound || late.Body.Len() > 100 {
		t.Errorf("after the end: %d with %d bytes", late.Code, late.Body.Len())
	}
}
