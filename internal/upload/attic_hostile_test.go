package upload

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// says answers every request whose path ends in suffix.
func says(suffix string, status int, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
		return true
	}
}

// times leaves requests alone after the first n.
func times(n int, hook func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		n--
		left := n
		mu.Unlock()
		return left >= 0 && hook(w, r)
	}
}

// hangsUp closes the connection without an answer.
func hangsUp(suffix string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, suffix) {
			panic(http.ErrAbortHandler)
		}
		return false
	}
}

const (
	incomplete = `{"code":503,"error":"IncompleteNar","message":"The requested NAR has missing chunks and needs to be repaired."}`
	internal   = `{"code":500,"error":"InternalServerError","message":"The server encountered an internal error or misconfiguration."}`
)

func TestAtticRefused(t *testing.T) {
	both := []attictest.Permission{attictest.Pull, attictest.Push}
	tests := []struct {
		name   string
		hook   func(http.ResponseWriter, *http.Request) bool
		change func(*Attic, *attictest.Server)
		want   string // error; URL is the server's
		calls  []string
	}{
		{
			name:   "expired token",
			change: func(a *Attic, s *attictest.Server) { a.Token = s.ExpiredToken("*", both...) },
			want:   "GET URL/_api/v1/cache-config/factory: 401 Unauthorized: Unauthorized.",
			calls:  []string{"GET cache-config/factory 401"},
		},
		{
			name:   "token of another server",
			change: func(a *Attic, s *attictest.Server) { a.Token = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl" },
			want:   "GET URL/_api/v1/cache-config/factory: 401 Unauthorized: Unauthorized.",
			calls:  []string{"GET cache-config/factory 401"},
		},
		{
			name:   "token for other caches",
			change: func(a *Attic, s *attictest.Server) { a.Token = s.Token("team-*", both...) },
			want:   "GET URL/_api/v1/cache-config/factory: 401 Unauthorized: Unauthorized.",
			calls:  []string{"GET cache-config/factory 401"},
		},
		{
			name:   "token of several words",
			change: func(a *Attic, s *attictest.Server) { a.Token = "bearer " + a.Token },
			want:   "ATTIC_TOKEN is not a token: it has a space or a character that no token has",
		},
		{
			name:   "no such cache",
			change: func(a *Attic, s *attictest.Server) { a.Cache = "factori" },
			want:   "GET URL/_api/v1/cache-config/factori: 404 Not Found: NoSuchCache: The requested cache does not exist.",
			calls:  []string{"GET cache-config/factori 404"},
		},
		{
			name:   "may not pull",
			change: func(a *Attic, s *attictest.Server) { a.Token = s.Token("factory", attictest.Push) },
			want:   "GET URL/_api/v1/cache-config/factory: 403 Forbidden: AccessError: Access error: User does not have permission to complete this action.",
			calls:  []string{"GET cache-config/factory 403"},
		},
		{
			name:   "may not push",
			change: func(a *Attic, s *attictest.Server) { a.Token = s.Token("factory", attictest.Pull) },
			want:   "POST URL/_api/v1/get-missing-paths: 403 Forbidden: AccessError: Access error: User does not have permission to complete this action.",
			calls:  []string{"GET cache-config/factory 200", "POST get-missing-paths 403"},
		},
		{
			name:  "internal error",
			hook:  says("/get-missing-paths", 500, internal),
			want:  "POST URL/_api/v1/get-missing-paths: 500 Internal Server Error: InternalServerError: The server encountered an internal error or misconfiguration. (2 attempts)",
			calls: []string{"GET cache-config/factory 200", "POST get-missing-paths 500", "POST get-missing-paths 500"},
		},
		{
			name:  "not implemented",
			hook:  says("/get-missing-paths", 501, ""),
			want:  "POST URL/_api/v1/get-missing-paths: 501 Not Implemented",
			calls: []string{"GET cache-config/factory 200", "POST get-missing-paths 501"},
		},
		{
			name:  "proxy without a server",
			hook:  says("/factory", 502, "upstream  connect error\r\nor disconnect\x00\n"),
			want:  "GET URL/_api/v1/cache-config/factory: 502 Bad Gateway: upstream connect error or disconnect (2 attempts)",
			calls: []string{"GET cache-config/factory 502", "GET cache-config/factory 502"},
		},
		{
			name:  "proxy with a page",
			hook:  says("/factory", 403, "<html>"+strings.Repeat("no ", 1000), "Content-Type", "text/html"),
			want:  "GET URL/_api/v1/cache-config/factory: 403 Forbidden",
			calls: []string{"GET cache-config/factory 403"},
		},
		{
			name:  "long text of a proxy",
			hook:  says("/factory", 418, strings.Repeat("0123456789", 1000)),
			want:  "GET URL/_api/v1/cache-config/factory: 418 I'm a teapot: " + strings.Repeat("0123456789", 30) + "…",
			calls: []string{"GET cache-config/factory 418"},
		},
		{
			name:  "a web site",
			hook:  says("/factory", 200, "<!DOCTYPE html>", "Content-Type", "text/html"),
			want:  "GET URL/_api/v1/cache-config/factory: answer is not Attic's: invalid character '<' looking for beginning of value",
			calls: []string{"GET cache-config/factory 200"},
		},
		{
			name:  "no list of missing paths",
			hook:  says("/get-missing-paths", 200, `{"paths":[]}`),
			want:  "POST URL/_api/v1/get-missing-paths: answer has no missing_paths",
			calls: []string{"GET cache-config/factory 200", "POST get-missing-paths 200"},
		},
		{
			name:  "endless answer",
			hook:  says("/factory", 200, strings.Repeat(" ", maxAnswer+1)),
			want:  "GET URL/_api/v1/cache-config/factory: body is too large (limit 16777216 bytes)",
			calls: []string{"GET cache-config/factory 200"},
		},
		{
			name:  "redirect",
			hook:  says("/factory", 301, "", "Location", "https://me:pw@attic.example.org/x?token=1"),
			want:  "GET URL/_api/v1/cache-config/factory: 301 Moved Permanently: redirected to https://attic.example.org/x; such an endpoint has to be configured as it is",
			calls: []string{"GET cache-config/factory 301"},
		},
		{
			name:  "other store",
			hook:  says("/factory", 200, `{"store_dir":"/gnu/store"}`),
			want:  `cache "factory" is for the store "/gnu/store" (want "/nix/store")`,
			calls: []string{"GET cache-config/factory 200"},
		},
		{
			name:  "odd address",
			hook:  says("/factory", 200, `{"api_endpoint":"gopher://x"}`),
			want:  `the server's api_endpoint "gopher://x" is not an http or https URL`,
			calls: []string{"GET cache-config/factory 200"},
		},
		{
			name:  "no answer",
			hook:  hangsUp("/factory"),
			want:  "GET URL/_api/v1/cache-config/factory: EOF (2 attempts)",
			calls: []string{"GET cache-config/factory 200", "GET cache-config/factory 200"},
		},
		{
			name:  "asks to wait for long",
			hook:  says("/factory", 429, "", "Retry-After", "3600"),
			want:  "GET URL/_api/v1/cache-config/factory: 429 Too Many Requests: asks to wait for 1h0m0s",
			calls: []string{"GET cache-config/factory 429"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startAttic(t, attictest.Options{})
			if tt.hook != nil {
				s.Handle(tt.hook)
			}
			shelf := few(t)
			attic := quick(s)
			if tt.change != nil {
				tt.change(&attic, s)
			}
			report, err := attic.Push(t.Context(), shelf.infos, shelf)
			if err == nil || strings.ReplaceAll(err.Error(), s.URL(), "URL") != tt.want {
				t.Errorf("Push: %v\nwant: %s", err, tt.want)
			}
			if report.Pushed != 0 || len(s.Objects()) != 0 {
				t.Errorf("report is %+v, the cache has %v", report, s.Objects())
			}
			if d := cmp.Diff(tt.calls, calls(s)); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
			var notice *NotPushed
			if errors.As(err, &notice) {
				t.Error("the error is a mere notice")
			}
			if len(shelf.reads) != 0 {
				t.Errorf("NARs were read: %v", shelf.reads)
			}
		})
	}
}

// A server that answers over TLS must not make us send the token without.
func TestAtticDowngrade(t *testing.T) {
	attic := Attic{Endpoint: "https://attic", Cache: "factory", Token: "eyJ.x.y", Client: client(
		func(r *http.Request) (*http.Response, error) {
			return reply(r, 200, `{"api_endpoint":"http://attic/"}`), nil
		}, fetch.Options{})}
	_, err := attic.Push(t.Context(), nil, nil)
	if want := `the server's api_endpoint "http://attic/" would send the token without encryption`; err == nil || err.Error() != want {
		t.Errorf("Push: %v, want %q", err, want)
	}
}

func TestAtticUpload(t *testing.T) {
	const url = "PUT URL/_api/v1/upload-path: "
	// only the first of the objects fails
	first := func(hook func(http.ResponseWriter, *http.Request) bool) func(*shelf) func(http.ResponseWriter, *http.Request) bool {
		return func(s *shelf) func(http.ResponseWriter, *http.Request) bool {
			digest := s.infos[0].Path.Digest()
			return func(w http.ResponseWriter, r *http.Request) bool {
				return strings.Contains(r.Header.Get("X-Attic-Nar-Info"), digest) && hook(w, r)
			}
		}
	}
	tests := []struct {
		name   string
		hook   func(*shelf) func(http.ResponseWriter, *http.Request) bool
		change func(*shelf)
		want   string // error; BASE is the first object, URL the server
		pushed int    // of 3
		puts   int    // uploads begun; -1: not looked at, as the server may not have noticed the one that was abandoned
	}{
		{"nothing wrong", nil, nil, "", 3, 3},
		{"answer without JSON", first(func(w http.ResponseWriter, r *http.Request) bool {
			return says("", 200, "ok\n")(w, r)
		}), nil, "", 3, 3},
		{"unknown kind", first(says("", 200, `{"kind":"Teleported"}`)), nil, "", 3, 3},
		{"201", first(says("", 201, "")), nil, "", 3, 3},
		{"incomplete once", first(times(1, says("", 503, incomplete))), nil, "", 3, 4},
		{"hangs up once", first(times(1, hangsUp(""))), nil, "", 3, 4},
		{"incomplete", first(says("", 503, incomplete)), nil,
			"1 of 3 objects not pushed: BASE: " + url + "503 Service Unavailable: IncompleteNar: The requested NAR has missing chunks and needs to be repaired. (2 attempts)", 2, 4},
		{"bad request", first(says("", 400, `{"code":400,"error":"RequestError","message":"General request error: no"}`)), nil,
			"1 of 3 objects not pushed: BASE: " + url + "400 Bad Request: RequestError: General request error: no", 2, 3},
		{"too large for a proxy", first(says("", 413, "<html>", "Content-Type", "text/html")), nil,
			"1 of 3 objects not pushed: BASE: " + url + "413 Request Entity Too Large", 2, 3},
		{"forbidden", first(says("", 403, "no\n")), nil, "BASE: " + url + "403 Forbidden: no", 0, 1},
		{"redirect", first(says("", 308, "", "Location", "/elsewhere")), nil,
			"BASE: " + url + "308 Permanent Redirect: redirected to /elsewhere; such an endpoint has to be configured as it is", 0, 1},
		{"hangs up", first(hangsUp("")), nil, "BASE: " + url + "EOF (2 attempts)", 0, 2},
		{"no NAR", nil, func(s *shelf) { delete(s.nars, s.infos[0].Path) },
			"1 of 3 objects not pushed: BASE: there is no such NAR", 2, 2},
		{"wrong NAR", nil, func(s *shelf) { s.nars[s.infos[0].Path][100] ^= 1 },
			"1 of 3 objects not pushed: BASE: NAR hash is OTHER (want HASH)", 2, -1},
		{"short NAR", nil, func(s *shelf) { s.nars[s.infos[0].Path] = s.nars[s.infos[0].Path][:100] },
			"1 of 3 objects not pushed: BASE: NAR ends after 100 of SIZE bytes: unexpected EOF", 2, -1},
		{"long NAR", nil, func(s *shelf) { s.nars[s.infos[0].Path] = append(s.nars[s.infos[0].Path], "more"...) },
			"1 of 3 objects not pushed: BASE: NAR is longer than SIZE bytes", 2, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startAttic(t, attictest.Options{})
			shelf := newShelf()
			for i := range 3 {
				shelf.add(t, fmt.Sprint("object-", i), strings.Repeat(fmt.Sprint(i), 100_000))
			}
			// foreign sorts, so the one that fails is tried first
			shelf.infos = unique(shelf.infos)
			if tt.change != nil {
				tt.change(shelf)
			}
			if tt.hook != nil {
				s.Handle(tt.hook(shelf))
			}
			attic := quick(s)
			attic.Parallel = 1
			report, err := attic.Push(t.Context(), shelf.infos, shelf)
			one := shelf.infos[0]
			want := strings.NewReplacer("BASE", one.Path.Base(), "OTHER", sum(shelf.nars[one.Path]).String(),
				"HASH", one.NarHash.String(), "SIZE", fmt.Sprint(one.NarSize)).Replace(tt.want)
			if got := strings.ReplaceAll(fmt.Sprint(err), s.URL(), "URL"); (want != "" || err != nil) && got != want {
				t.Errorf("Push: %s\nwant: %s", got, want)
			}
			puts := 0
			for _, r := range s.Requests() {
				if r.Method == http.MethodPut {
					puts++
				}
			}
			if report.Pushed != tt.pushed || tt.puts >= 0 && puts != tt.puts {
				t.Errorf("%d pushed in %d uploads, want %d in %d", report.Pushed, puts, tt.pushed, tt.puts)
			}
			for _, info := range s.Objects() {
				if tt.change != nil && info.Path == one.Path {
					t.Errorf("the cache has %s", info.Path)
				}
			}
			shelf.leaks(t)
		})
	}
}

// When one object after the other fails, the rest is not tried.
func TestAtticGivesUp(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	shelf := newShelf()
	for i := range 50 {
		shelf.add(t, fmt.Sprint("object-", i), fmt.Sprint(i))
	}
	s.Handle(says("/upload-path", 500, internal))
	attic := quick(s)
	attic.Client = fetch.New(fetch.Options{Attempts: 1})
	attic.Parallel = 2
	report, err := attic.Push(t.Context(), shelf.infos, shelf)
	if err == nil || !strings.HasPrefix(err.Error(), "50 of 50 objects not pushed: ") || strings.Count(err.Error(), "InternalServerError") > maxFailures+1 {
		t.Errorf("Push = %+v, %v", report, err)
	}
	if len(s.Requests()) > 2+maxFailures+1 {
		t.Errorf("%d requests", len(s.Requests()))
	}
	var answer *fetch.Error
	if !errors.As(err, &answer) || answer.Status != 500 || !answer.Temporary() {
		t.Errorf("the error holds %+v", answer)
	}
}

// Nothing listens: no object is tried twice over.
func TestAtticUnreachable(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	attic := quick(s)
	s.Close()
	shelf := few(t)
	_, err := attic.Push(t.Context(), shelf.infos, shelf)
	if want := "GET " + s.URL() + "/_api/v1/cache-config/factory: dial tcp "; err == nil || !strings.HasPrefix(err.Error(), want) ||
		!strings.HasSuffix(err.Error(), "connect: connection refused (2 attempts)") {
		t.Errorf("Push: %v", err)
	}
}

// Servers and proxies may repeat what they were sent.
func TestAtticTokenIsNeverShown(t *testing.T) {
	echo := func(kind string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "bearer ")
			switch kind {
			case "json":
				return says("", 401, `{"error":"`+token+`","message":"bad token `+token+`"}`)(w, r)
			case "text":
				return says("", 401, strings.Repeat("x", 290)+token)(w, r)
			case "redirect":
				return says("", 302, "", "Location", "/login/"+token)(w, r)
			case "address":
				return says("", 200, `{"api_endpoint":"ftp://`+token+`"}`)(w, r)
			default:
				return says("", 200, `{"store_dir":"`+token+`"}`)(w, r)
			}
		}
	}
	for _, kind := range []string{"json", "text", "redirect", "address", "store"} {
		s := startAttic(t, attictest.Options{})
		s.Handle(echo(kind))
		attic := quick(s)
		_, err := attic.Push(t.Context(), []nix.PathInfo{}, newShelf())
		if err == nil {
			t.Fatalf("%s: no error", kind)
		}
		shown := fmt.Sprintf("%v %+v %q", err, err, err)
		var answer *fetch.Error
		if errors.As(err, &answer) {
			shown += answer.Error()
		}
		for _, part := range strings.Split(attic.Token, ".") {
			if strings.Contains(shown, part[:8]) {
				t.Errorf("%s: the error shows the token: %v", kind, err)
			}
		}
	}
}

// An upload that breaks off because we are not let in any more says that,
// rather than that it broke off.
func TestAtticShutOutMeanwhile(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	var mu sync.Mutex
	asked := 0
	s.Handle(hangsUp("/upload-path"))
	s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		asked++
		return asked > 1 && says("", 401, `{"error":"Unauthorized","message":"Unauthorized."}`)(w, r)
	})
	shelf := newShelf()
	info := shelf.add(t, "object", "x")
	_, err := quick(s).Push(t.Context(), shelf.infos, shelf)
	want := info.Path.Base() + ": POST " + s.URL() + "/_api/v1/get-missing-paths: 401 Unauthorized: Unauthorized."
	if err == nil || err.Error() != want {
		t.Errorf("Push: %v, want %q", err, want)
	}
}
