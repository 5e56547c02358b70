package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

func names(infos []nix.PathInfo) []string {
	list := bases(infos)
	slices.Sort(list)
	return list
}

func TestAttic(t *testing.T) {
	s := startAttic(t, attictest.Options{Keys: []nix.PublicKey{upstream.Public()}})
	shelf := few(t)
	attic := quick(s)
	attic.Endpoint += "/"

	report, err := attic.Push(t.Context(), shelf.infos, shelf)
	own := size(shelf.infos[2:])
	if want := (Report{Pushed: 2, Upstream: 2, Bytes: own}); err != nil || report != want {
		t.Fatalf("Push = %+v, %v, want %+v", report, err, want)
	}
	if d := cmp.Diff([]string{"nixpkgs-src", "tool-1"}, names(s.Objects())); d != "" {
		t.Errorf("the cache has (-want +got):\n%s", d)
	}
	for _, got := range s.Objects() {
		if err := got.Trusted([]nix.PublicKey{s.PublicKey()}); err != nil {
			t.Errorf("%s: %v", got.Path, err)
		}
	}

	report, err = attic.Push(t.Context(), shelf.infos, shelf)
	if want := (Report{Present: 2, Upstream: 2}); err != nil || report != want {
		t.Errorf("second Push = %+v, %v, want %+v", report, err, want)
	}
	want := []string{
		"GET cache-config/factory 200", "POST get-missing-paths 200", "PUT upload-path 200", "PUT upload-path 200",
		"GET cache-config/factory 200", "POST get-missing-paths 200",
	}
	if d := cmp.Diff(want, calls(s)); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	shelf.leaks(t)
}

// Who has no upstream in common with the server sends everything.
func TestAtticWithoutUpstream(t *testing.T) {
	s := startAttic(t, attictest.Options{Upstream: []string{}, Keys: []nix.PublicKey{upstream.Public()}})
	shelf := few(t)
	report, err := quick(s).Push(t.Context(), shelf.infos, shelf)
	if want := (Report{Pushed: 4, Bytes: size(shelf.infos)}); err != nil || report != want {
		t.Errorf("Push = %+v, %v, want %+v", report, err, want)
	}
}

func TestAtticNothingToDo(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	shelf := few(t)
	report, err := quick(s).Push(t.Context(), shelf.infos[:2], shelf)
	if want := (Report{Upstream: 2}); err != nil || report != want {
		t.Errorf("Push = %+v, %v, want %+v", report, err, want)
	}
	if d := cmp.Diff([]string{"GET cache-config/factory 200"}, calls(s)); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestAtticWithoutToken(t *testing.T) {
	s := startAttic(t, attictest.Options{Public: true})
	shelf := few(t)
	for _, token := range []string{"", " \n"} {
		attic := quick(s)
		attic.Token = token
		report, err := attic.Push(t.Context(), shelf.infos, shelf)
		var notice *NotPushed
		if !errors.As(err, &notice) || err.Error() != "nothing pushed: ATTIC_TOKEN is not set" || report != (Report{}) {
			t.Errorf("Push with token %q = %+v, %v", token, report, err)
		}
	}
	if len(s.Requests()) != 0 {
		t.Errorf("the server was asked: %v", calls(s))
	}
}

// A token comes from a variable, and often with the end of a line.
func TestAtticTokenWithNewline(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	shelf := few(t)
	attic := quick(s)
	attic.Token += "\n"
	if report, err := attic.Push(t.Context(), shelf.infos, shelf); err != nil || report.Pushed != 2 {
		t.Errorf("Push = %+v, %v", report, err)
	}
}

// What the server is told of an object fits in a header, or goes before the NAR.
func TestAtticPreamble(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	var mu sync.Mutex
	sizes := map[string]int{} // by how it was sent
	s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if info := r.Header.Get("X-Attic-Nar-Info"); info != "" {
			sizes["header"] = max(sizes["header"], len(info))
		}
		if r.Header.Get("X-Attic-Nar-Info-Preamble-Size") != "" {
			sizes["preamble"]++
		}
		return false
	})
	shelf := newShelf()
	var refs []nix.StorePath
	for i := range 120 {
		info := shelf.add(t, fmt.Sprintf("ref-%03d", i), fmt.Sprint(i), slices.Clone(refs)...)
		refs = append(refs, info.Path)
		slices.SortFunc(refs, nix.StorePath.Compare)
	}
	report, err := quick(s).Push(t.Context(), shelf.infos, shelf)
	if err != nil || report.Pushed != 120 {
		t.Fatalf("Push = %+v, %v", report, err)
	}
	if sizes["header"] < 3900 || sizes["header"] >= 4096 || sizes["preamble"] < 20 {
		t.Errorf("longest header %d bytes, %d preambles", sizes["header"], sizes["preamble"])
	}
	want := slices.SortedFunc(slices.Values(shelf.infos), func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	for i, got := range s.Objects() {
		got.Sigs = nil
		if d := cmp.Diff(want[i], got); d != "" {
			t.Errorf("object (-want +got):\n%s", d)
		}
	}
}

// A key's name may have letters that no header can carry.
func TestAtticForeignLetters(t *testing.T) {
	key := nixtest.NewSecretKey("schlüssel-1", [32]byte{7})
	s := startAttic(t, attictest.Options{Keys: []nix.PublicKey{key.Public()}})
	shelf := newShelf()
	info := shelf.add(t, "x", "x")
	info.Sigs = []nix.Signature{key.Sign(info)}
	info.CA = "fixed:r:sha256:" + info.NarHash.Base32()
	s.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		for name, values := range r.Header {
			if strings.ContainsFunc(values[0], func(c rune) bool { return c > '~' }) {
				t.Errorf("header %s: %q", name, values)
			}
		}
		return false
	})
	report, err := quick(s).Push(t.Context(), []nix.PathInfo{info}, shelf)
	if err != nil || report.Pushed != 1 || s.Objects()[0].CA != info.CA {
		t.Errorf("Push = %+v, %v; the cache has %v", report, err, s.Objects())
	}
}

// Two objects with the same content, as nixpkgs-src and source have it.
func TestAtticSameNAR(t *testing.T) {
	content := strings.Repeat("nixpkgs", 1<<20)
	for _, trusting := range []bool{false, true} {
		t.Run(fmt.Sprint("trusting ", trusting), func(t *testing.T) {
			s := startAttic(t, attictest.Options{Trusting: trusting})
			shelf := newShelf()
			shelf.add(t, "nixpkgs-src", content)
			shelf.add(t, "source", content)
			attic := quick(s)
			attic.Parallel = 1
			report, err := attic.Push(t.Context(), shelf.infos, shelf)
			if err != nil || report.Pushed != 2 || len(s.Objects()) != 2 {
				t.Errorf("Push = %+v, %v", report, err)
			}
			shelf.leaks(t)
		})
	}
}

func TestAtticInParallel(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	shelf := newShelf()
	for i := range 24 {
		shelf.add(t, fmt.Sprint("object-", i), fmt.Sprint(i))
	}
	// The first three uploads wait for each other.
	together := sync.WaitGroup{}
	together.Add(3)
	var mu sync.Mutex
	n := 0
	s.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			mu.Lock()
			n++
			first := n <= 3
			mu.Unlock()
			if first {
				together.Done()
				together.Wait()
			}
		}
		return false
	})
	var now, most int
	attic := quick(s)
	attic.Parallel = 3
	attic.Client = client(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			now--
		}()
		return http.DefaultTransport.RoundTrip(r)
	}, fetch.Options{})
	report, err := attic.Push(t.Context(), shelf.infos, shelf)
	if err != nil || report.Pushed != 24 {
		t.Errorf("Push = %+v, %v", report, err)
	}
	if most != 3 {
		t.Errorf("%d uploads at once, want 3", most)
	}
}

// From the answer to cache-config on, the server is called by the address it gives.
func TestAtticEndpointOfItsOwn(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	var paths []string
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/behind/a proxy")
		s.ServeHTTP(w, r)
	}))
	defer second.Close()
	s.SetAPIEndpoint(second.URL + "/behind/a%20proxy")
	shelf := few(t)
	attic := quick(s)
	attic.Parallel = 1
	report, err := attic.Push(t.Context(), shelf.infos, shelf)
	if err != nil || report.Pushed != 2 {
		t.Errorf("Push = %+v, %v", report, err)
	}
	want := []string{"/behind/a proxy/_api/v1/get-missing-paths", "/behind/a proxy/_api/v1/upload-path", "/behind/a proxy/_api/v1/upload-path"}
	if d := cmp.Diff(want, paths); d != "" {
		t.Errorf("requests to the address given (-want +got):\n%s", d)
	}
}

// Servers may hang up on who sends a NAR that they know: with the answer
// before it, or so that the answer is lost.
func TestAtticHangsUpAfterTheAnswer(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprint("answer lost ", lose), func(t *testing.T) {
			s := startAttic(t, attictest.Options{})
			shelf := newShelf()
			big := shelf.add(t, "big", strings.Repeat("0123456789abcdef", 1<<20))
			attic := quick(s)
			attic.Client = fetch.New(fetch.Options{Attempts: 1})
			if _, err := attic.Push(t.Context(), shelf.infos, shelf); err != nil {
				t.Fatal(err)
			}
			if err := s.Forget(big.Path); err != nil {
				t.Fatal(err)
			}
			s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut {
					return false
				}
				// What a server does that trusts its clients: it notes the object ...
				noted := httptest.NewRequest(http.MethodPut, r.URL.String(), bytes.NewReader(shelf.nars[big.Path]))
				noted.Header = r.Header
				http.HandlerFunc(s.Upload).ServeHTTP(httptest.NewRecorder(), noted)
				// ... and answers with most of the body unread.
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return true
				}
				if !lose {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 23\r\nConnection: close\r\n\r\n{\"kind\":\"Deduplicated\"}")
				}
				conn.Close()
				return true
			})
			report, err := attic.Push(t.Context(), shelf.infos, shelf)
			if want := (Report{Pushed: 1, Bytes: big.NarSize}); err != nil || report != want {
				t.Errorf("Push = %+v, %v, want %+v", report, err, want)
			}
			shelf.leaks(t)
		})
	}
}

func TestAtticCheck(t *testing.T) {
	good := Attic{Endpoint: "https://attic.example.org/sub/", Cache: "a-B_c+9"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if got, want := good.Name(), "attic https://attic.example.org/sub/a-B_c+9"; got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	for _, tt := range []struct{ endpoint, cache, want string }{
		{"https://h", "", `cache name "": want 1 to 50 of A-Z a-z 0-9 - _ +, the first one a letter or digit`},
		{"https://h", "../x", `cache name "../x": want 1 to 50 of A-Z a-z 0-9 - _ +, the first one a letter or digit`},
		{"https://h", "-x", `cache name "-x": want 1 to 50 of A-Z a-z 0-9 - _ +, the first one a letter or digit`},
		{"https://h", strings.Repeat("x", 51), `cache name "` + strings.Repeat("x", 51) + `": want 1 to 50 of A-Z a-z 0-9 - _ +, the first one a letter or digit`},
		{"", "x", `endpoint "" is not an http or https URL`},
		{"attic.example.org", "x", `endpoint "attic.example.org" is not an http or https URL`},
		{"file:///x", "x", `endpoint "file:///x" is not an http or https URL`},
		{"https://me:secret@h", "x", "endpoint has a user in it (the token is set as ATTIC_TOKEN)"},
		{"https://me:secret@h:x", "x", "endpoint is not a URL"},
	} {
		attic := Attic{Endpoint: tt.endpoint, Cache: tt.cache}
		err := attic.Check()
		if err == nil || err.Error() != tt.want {
			t.Errorf("Check of %q, %q: %v, want %q", tt.endpoint, tt.cache, err, tt.want)
		}
		if _, again := attic.Push(t.Context(), nil, nil); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("Push says %v", again)
		}
		if strings.Contains(attic.Name(), "secret") {
			t.Errorf("Name is %q", attic.Name())
		}
	}
}

func TestAtticCancelled(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	shelf := newShelf()
	shelf.add(t, "big", strings.Repeat("0123456789abcdef", 1<<20))
	shelf.add(t, "other", "x")
	ctx, cancel := context.WithCancel(t.Context())
	s.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			io.ReadFull(r.Body, make([]byte, 100))
			cancel()
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				<-r.Context().Done() // seen only behind the body
			}
		}
		return false
	})
	report, err := quick(s).Push(ctx, shelf.infos, shelf)
	if !errors.Is(err, context.Canceled) || report.Pushed != 0 {
		t.Errorf("Push = %+v, %v", report, err)
	}
	shelf.leaks(t)
}
