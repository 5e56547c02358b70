package heads

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
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

const (
	rev  = "c0b0e0fddf73fd517c3471e546c0df87a42d53f4"
	tree = "5ab9ddbe4d7a1f0ec4e7d64f4fa7b6a6b2d2a8c1"

	branchPath = "/repos/NixOS/nixpkgs/branches/"
	commitPath = "/repos/NixOS/nixpkgs/git/commits/"
	refsPath   = "/repos/NixOS/nixpkgs/git/matching-refs/heads/nix"
)

var want = Commit{gittest.Rev(rev), gittest.TreeID(tree), time.Date(2026, 5, 2, 6, 41, 17, 0, time.UTC)}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// reply is what a server says to one path.
type reply struct {
	status int    // 0: 200
	file   string // below testdata
	body   string
	header map[string]string
}

// server plays GitHub: replies by path, anything else is "not found". It keeps the requests.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func start(t *testing.T, replies map[string]reply) *server {
	t.Helper()
	bodies := map[string][]byte{"": readFile(t, "not-found.json")}
	for path, r := range replies {
		bodies[path] = []byte(r.body)
		if r.file != "" {
			bodies[path] = readFile(t, r.file)
		}
	}
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		path := r.URL.EscapedPath()
		rep, found := replies[path]
		if !found {
			path, rep = "", reply{status: 404}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for key, value := range rep.header {
			w.Header().Set(key, value)
		}
		if etag := rep.header["ETag"]; etag != "" && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if rep.status != 0 {
			w.WriteHeader(rep.status)
		}
		w.Write(bodies[path])
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var paths []string
	for _, r := range s.requests {
		paths = append(paths, r.URL.EscapedPath())
	}
	return paths
}

// client asks without repeating, so that a test of refusals takes no time.
func client(t *testing.T, options Options) *Client {
	t.Helper()
	if options.HTTP == nil {
		options.HTTP = &http.Client{}
	}
	c, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// memory is an ETags without a file.
type memory struct {
	mu      sync.Mutex
	entries map[string]entry
	err     error
}

type entry struct {
	etag string
	body []byte
}

func (m *memory) ETag(key string) (string, []byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	return e.etag, e.body, ok
}

func (m *memory) SetETag(key, etag string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[string]entry{}
	}
	m.entries[key] = entry{etag, body}
	return m.err
}

func TestHead(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {file: "branch.json", header: map[string]string{
		"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "57", "X-RateLimit-Reset": "1777707600",
	}}})
	c := client(t, Options{API: s.URL})
	if got := c.Rate(); got != (Rate{}) {
		t.Errorf("Rate() = %v before any answer", got)
	}
	got, err := c.Head(t.Context(), "nixos-unstable")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Head{Channel: "nixos-unstable", Commit: want}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{branchPath + "nixos-unstable"}, s.paths()); diff != "" {
		t.Error(diff)
	}
	if _, sent := s.requests[0].Header["Authorization"]; sent {
		t.Error("credentials without a token")
	}
	rate := Rate{60, 57, time.Date(2026, 5, 2, 7, 40, 0, 0, time.UTC)}
	if diff := cmp.Diff(rate, c.Rate()); diff != "" {
		t.Error(diff)
	}
}

func TestHeadBadAnswer(t *testing.T) {
	branch := func(name, sha, tree, date string) string {
		return fmt.Sprintf(`{"name":%q,"commit":{"sha":%q,"commit":{"committer":{"date":%q},"tree":{"sha":%q}}}}`, name, sha, date, tree)
	}
	const date = "2026-05-02T06:41:17Z"
	tests := []struct {
		name  string
		reply reply
		want  string // after "GET URL: "; "*": whatever
	}{
		{"other branch", reply{body: branch("nixos-unstable-small", rev, tree, date)}, `the answer is for branch "nixos-unstable-small"`},
		{"short sha", reply{body: branch("nixos-unstable", rev[:39], tree, date)}, `"` + rev[:39] + `" is not a revision (want 40 digits of lower-case hex)`},
		{"upper case", reply{body: branch("nixos-unstable", strings.ToUpper(rev), tree, date)}, `"` + strings.ToUpper(rev) + `" is not a revision (want 40 digits of lower-case hex)`},
		{"no tree", reply{body: branch("nixos-unstable", rev, "", date)}, `"" is not a git tree (want 40 digits of lower-case hex)`},
		{"no date", reply{body: branch("nixos-unstable", rev, tree, "0001-01-01T00:00:00Z")}, "the commit has no date"},
		{"no commit", reply{body: `{"name":"nixos-unstable"}`}, `"" is not a revision (want 40 digits of lower-case hex)`},
		{"empty", reply{}, `the answer is for branch ""`},
		{"list", reply{body: "[]"}, "*"},
		{"cut off", reply{body: branch("nixos-unstable", rev, tree, date)[:50]}, "unexpected EOF"},
		{"web page", reply{body: "<html>"}, "invalid character '<' looking for beginning of value"},
		{"endless", reply{body: strings.Repeat(" ", maxAnswer+1)}, "the answer is too long (limit 4194304 bytes)"},
		{"not modified", reply{status: 304}, "304 Not Modified to an unconditional request"},
		{"accepted", reply{status: 202}, "*"},
		{"server error", reply{status: 500, body: "oops"}, "500 Internal Server Error"},
		{"bad token", reply{status: 401, file: "bad-credentials.json"}, "401 Unauthorized: Bad credentials"},
		{"one-time password", reply{status: 401, body: `{"message":"Must specify two-factor authentication OTP code."}`,
			header: map[string]string{"X-GitHub-OTP": "required; app"}}, "401 Unauthorized: Must specify two-factor authentication OTP code."},
		{"forbidden", reply{status: 403, body: `{"message":"Resource not accessible by integration"}`,
			header: map[string]string{"X-RateLimit-Remaining": "59"}}, "403 Forbidden: Resource not accessible by integration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, map[string]reply{branchPath + "nixos-unstable": tt.reply})
			_, err := client(t, Options{API: s.URL, Sleep: awake}).Head(t.Context(), "nixos-unstable")
			var e *fetch.Error
			if !errors.As(err, &e) {
				t.Fatalf("Head = %v, want a *fetch.Error", err)
			}
			prefix := "GET " + s.URL + branchPath + "nixos-unstable: "
			if text, found := strings.CutPrefix(err.Error(), prefix); !found || tt.want != "*" && text != tt.want {
				t.Errorf("Head = %v, want %q", err, prefix+tt.want)
			}
		})
	}
}

func TestHeadBadName(t *testing.T) {
	c := client(t, Options{API: "http://127.0.0.1:1"})
	for _, channel := range []string{"", ".", ".."} {
		if _, err := c.Head(t.Context(), channel); err == nil || !strings.Contains(err.Error(), "is not the name of a channel") {
			t.Errorf("Head(%q) = %v", channel, err)
		}
	}
}

// A slash must not lead to another resource of the API.
func TestHeadEscapesTheName(t *testing.T) {
	s := start(t, map[string]reply{refsPath: {body: "[]"}})
	var unknown *UnknownChannelError
	_, err := client(t, Options{API: s.URL}).Head(t.Context(), "../tags?x#y")
	if !errors.As(err, &unknown) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{branchPath + "..%2Ftags%3Fx%23y", refsPath}, s.paths()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownChannel(t *testing.T) {
	tests := []struct {
		channel string
		refs    reply
		closest []string
		text    string
	}{
		{"nixos-26.5", reply{file: "matching-refs.json"}, []string{"nixos-26.05", "nixos-25.05", "nixos-25.11"},
			`NixOS/nixpkgs has no channel "nixos-26.5" (closest: nixos-26.05, nixos-25.05, nixos-25.11)`},
		{"NixOS-Unstable", reply{file: "matching-refs.json"}, []string{"nixos-unstable", "nixpkgs-unstable", "nixos-unstable-small"},
			`NixOS/nixpkgs has no channel "NixOS-Unstable" (closest: nixos-unstable, nixpkgs-unstable, nixos-unstable-small)`},
		{"unstable", reply{file: "matching-refs.json"}, nil, `NixOS/nixpkgs has no channel "unstable"`},
		{"nixos-26.5", reply{status: 500}, nil, `NixOS/nixpkgs has no channel "nixos-26.5"`},
		{"nixos-26.5", reply{status: 403, file: "rate-limit.json", header: map[string]string{"X-RateLimit-Remaining": "0"}}, nil,
			`NixOS/nixpkgs has no channel "nixos-26.5"`},
	}
	for _, tt := range tests {
		s := start(t, map[string]reply{branchPath + tt.channel: {status: 404, file: "branch-not-found.json"}, refsPath: tt.refs})
		_, err := client(t, Options{API: s.URL}).Head(t.Context(), tt.channel)
		var unknown *UnknownChannelError
		if !errors.As(err, &unknown) {
			t.Errorf("Head(%q) = %v, want an *UnknownChannelError", tt.channel, err)
			continue
		}
		if diff := cmp.Diff(tt.closest, unknown.Closest); diff != "" || err.Error() != tt.text {
			t.Errorf("Head(%q) = %q, want %q\n%s", tt.channel, err, tt.text, diff)
		}
		if n := len(s.paths()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"nixos-24.05", "nixos-25.05", "nixos-26.05", "nixos-26.05-small", "nixos-unstable", "nixpkgs-unstable"}
	tests := []struct {
		name string
		want []string
	}{
		{"nixos-27.05", []string{"nixos-26.05", "nixos-25.05", "nixos-24.05"}},
		{"nixpkgs-unstabel", []string{"nixpkgs-unstable", "nixos-unstable"}},
		{"release", nil},
		{"x", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, closest(tt.name, names)); diff != "" {
			t.Errorf("closest(%q):\n%s", tt.name, diff)
		}
	}
}

func TestUnknownRepository(t *testing.T) {
	s := start(t, nil)
	_, err := client(t, Options{API: s.URL, Repository: "NixOs/nixpks"}).Head(t.Context(), "nixos-unstable")
	if !errors.Is(err, fetch.ErrNotFound) || err.Error() != "GET "+s.URL+"/repos/NixOs/nixpks/branches/nixos-unstable: 404 Not Found (if the repository is private: set GITHUB_TOKEN)" {
		t.Errorf("Head = %v", err)
	}
	_, err = client(t, Options{API: s.URL, Repository: "NixOs/nixpks", Token: "ghp_abcdef"}).Head(t.Context(), "nixos-unstable")
	if !errors.Is(err, fetch.ErrNotFound) || strings.Contains(err.Error(), "GITHUB_TOKEN") {
		t.Errorf("Head with a token = %v", err)
	}
}

func TestCommit(t *testing.T) {
	const short = "/repos/NixOS/nixpkgs/commits/"
	tests := []struct {
		name    string
		rev     string
		replies map[string]reply
		unknown bool
		err     string
	}{
		{"full", rev, map[string]reply{commitPath + rev: {file: "commit.json"}}, false, ""},
		{"upper case", strings.ToUpper(rev), map[string]reply{commitPath + rev: {file: "commit.json"}}, false, ""},
		{"short", rev[:7], map[string]reply{short + rev[:7]: {body: rev}, commitPath + rev: {file: "commit.json"}}, false, ""},
		{"short, answered in JSON", rev[:12], map[string]reply{short + rev[:12]: {file: "commit.json"}, commitPath + rev: {file: "commit.json"}}, false, ""},
		{"short, a branch of that name", "c0ffee0", map[string]reply{short + "c0ffee0": {body: rev}}, false, `the answer is for commit "` + rev + `"`},
		{"short, nonsense", rev[:7], map[string]reply{short + rev[:7]: {body: "{}"}}, false, `the answer is for commit ""`},
		{"unknown", rev, nil, true, "NixOS/nixpkgs has no commit " + rev},
		{"short and unknown", "deadbee", map[string]reply{short + "deadbee": {status: 422, file: "no-commit.json"}}, true, "NixOS/nixpkgs has no commit deadbee"},
		{"empty repository", rev, map[string]reply{commitPath + rev: {status: 409, body: `{"message":"Git Repository is empty."}`}}, true, "NixOS/nixpkgs has no commit " + rev},
		{"other commit", tree, map[string]reply{commitPath + tree: {file: "commit.json"}}, false, `the answer is for commit "` + rev + `"`},
		{"server error", rev, map[string]reply{commitPath + rev: {status: 502}}, false, "502 Bad Gateway"},
		{"too short", "c0b0e0", nil, false, `"c0b0e0" is not a revision (want 7 to 40 hex digits)`},
		{"too long", rev + "0", nil, false, "is not a revision"},
		{"a branch", "nixos-unstable", nil, false, `"nixos-unstable" is not a revision (want 7 to 40 hex digits)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.replies)
			got, err := client(t, Options{API: s.URL}).Commit(t.Context(), tt.rev)
			var unknown *UnknownCommitError
			if errors.As(err, &unknown) != tt.unknown {
				t.Errorf("Commit = %v", err)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("Commit = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got != want {
				t.Errorf("Commit = %v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	const reset = "2100-01-01T00:00:00Z"
	header := func(pairs ...string) map[string]string {
		h := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	tests := []struct {
		name   string
		reply  reply
		pauses []time.Duration // that are waited out
		reset  time.Duration   // from now; 0: in the year 2100
	}{
		{"primary", reply{status: 403, file: "rate-limit.json", header: header("X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "4102444800")}, nil, 0},
		{"primary as 429", reply{status: 429, file: "rate-limit.json", header: header("X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "4102444800")}, nil, 0},
		{"primary without reset", reply{status: 403, file: "rate-limit.json", header: header("X-RateLimit-Remaining", "0")}, nil, time.Minute},
		{"secondary", reply{status: 403, file: "secondary-rate-limit.json", header: header("Retry-After", "50")}, seconds(50, 50), 50 * time.Second},
		{"secondary for long", reply{status: 403, file: "secondary-rate-limit.json", header: header("Retry-After", "120")}, seconds(120), 2 * time.Minute},
		{"secondary for too long", reply{status: 403, file: "secondary-rate-limit.json", header: header("Retry-After", "121")}, nil, 121 * time.Second},
		{"secondary for no time", reply{status: 403, file: "secondary-rate-limit.json", header: header("Retry-After", "0")}, seconds(1, 1, 1, 1), 0 * time.Second},
		{"secondary as 429", reply{status: 429, file: "secondary-rate-limit.json", header: header("Retry-After", "120", "X-RateLimit-Remaining", "59", "X-RateLimit-Reset", "4102444800")}, seconds(120), 2 * time.Minute},
		{"secondary while the hour is used up", reply{status: 403, file: "secondary-rate-limit.json", header: header("Retry-After", "120", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "4102444800")}, seconds(120), 2 * time.Minute},
		{"secondary without time", reply{status: 403, file: "secondary-rate-limit.json"}, seconds(60, 60), time.Minute},
		{"secondary without time, before the end of the hour", reply{status: 403, file: "secondary-rate-limit.json", header: header("X-RateLimit-Remaining", "59", "X-RateLimit-Reset", "4102444800")}, seconds(60, 60), time.Minute},
		{"403 with a time", reply{status: 403, header: header("Retry-After", "120")}, seconds(120), 2 * time.Minute},
		{"429 with a time", reply{status: 429, body: "too many", header: header("Retry-After", "3")}, seconds(3, 3, 3, 3), 3 * time.Second},
		{"bare 429", reply{status: 429}, seconds(60, 60), time.Minute},
	}
	for _, tt := range tests {
		for _, token := range []string{"", "ghp_abcdef"} {
			t.Run(fmt.Sprintf("%s, token %t", tt.name, token != ""), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					refuse(t, tt.reply, token, !strings.HasPrefix(tt.name, "primary"), tt.pauses, tt.reset)
				})
			})
		}
	}
	if text := (&RateLimitError{Reset: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}).Error(); !strings.Contains(text, reset) {
		t.Errorf("Error() = %q", text)
	}
}

// refuse asks a server that refuses in one way, for ever.
func refuse(t *testing.T, refusal reply, token string, secondary bool, wantPauses []time.Duration, reset time.Duration) {
	t.Helper()
	requests := 0
	var pauses []time.Duration
	c := client(t, Options{
		Token: token,
		HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			requests++
			return refusal.to(t, r), nil
		})},
		Sleep: func(ctx context.Context, pause time.Duration) error {
			pauses = append(pauses, pause)
			return fetch.Sleep(ctx, pause)
		},
	})
	_, err := c.Head(t.Context(), "nixos-unstable")
	var limit *RateLimitError
	if !errors.As(err, &limit) || limit.Authenticated != (token != "") || limit.Secondary != secondary {
		t.Fatalf("Head = %#v", err)
	}
	want := time.Now().Add(reset)
	if reset == 0 && !secondary {
		want = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if !limit.Reset.Equal(want) {
		t.Errorf("reset at %v, want %v", limit.Reset, want)
	}
	if !slices.Equal(pauses, wantPauses) || requests != len(pauses)+1 {
		t.Errorf("waited %v, %d requests", pauses, requests)
	}
	// A token is no cure for a secondary limit.
	if advised := strings.Contains(err.Error(), "GITHUB_TOKEN"); advised != (token == "" && !secondary) {
		t.Errorf("advice in %q", err)
	}
}

// to is the reply as an answer without sockets.
func (rep reply) to(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	rec := httptest.NewRecorder()
	for key, value := range rep.header {
		rec.Header().Set(key, value)
	}
	if rep.status != 0 {
		rec.WriteHeader(rep.status)
	}
	body := []byte(rep.body)
	if rep.file != "" {
		body = readFile(t, rep.file)
	}
	rec.Write(body)
	resp := rec.Result()
	resp.Request = r
	return resp
}

func seconds(pauses ...int) []time.Duration {
	var all []time.Duration
	for _, p := range pauses {
		all = append(all, time.Duration(p)*time.Second)
	}
	return all
}

// A secondary limit is waited out, and the work goes on.
func TestSecondaryLimitPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := client(t, Options{HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			if requests++; requests > 1 {
				return reply{file: "branch.json"}.to(t, r), nil
			}
			return reply{status: 403, file: "secondary-rate-limit.json", header: map[string]string{
				"X-RateLimit-Remaining": "4955", "X-RateLimit-Reset": "4102444800",
			}}.to(t, r), nil
		})}})
		begun := time.Now()
		if got, err := c.Head(t.Context(), "nixos-unstable"); err != nil || got.Commit != want {
			t.Errorf("Head = %v, %v", got, err)
		}
		if took := time.Since(begun); took != time.Minute || requests != 2 {
			t.Errorf("%d requests in %v", requests, took)
		}
	})
}

// awake lets no time pass.
func awake(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// An answer that broke off is asked for again.
func TestAnswerThatBrokeOff(t *testing.T) {
	for what, damage := range map[string]func(whole []byte) io.Reader{
		"the connection was cut": func(whole []byte) io.Reader {
			return io.MultiReader(bytes.NewReader(whole[:100]), iotest.ErrReader(io.ErrUnexpectedEOF))
		},
		"the stream was reset": func(whole []byte) io.Reader {
			return io.MultiReader(bytes.NewReader(whole[:100]), iotest.ErrReader(errors.New("stream error: stream ID 1; INTERNAL_ERROR; received from peer")))
		},
		"a proxy does not say so": func(whole []byte) io.Reader { return bytes.NewReader(whole[:100]) },
	} {
		requests := 0
		c := client(t, Options{Sleep: awake, HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			resp := reply{file: "branch.json"}.to(t, r)
			if requests++; requests < 3 {
				resp.Body = io.NopCloser(damage(readFile(t, "branch.json")))
			}
			return resp, nil
		})}})
		if got, err := c.Head(t.Context(), "nixos-unstable"); err != nil || got.Commit != want || requests != 3 {
			t.Errorf("%s: Head = %v, %v after %d requests", what, got, err, requests)
		}
	}
}

// The wait for a limit ends with the context.
func TestSecondaryLimitIsNotWaitedForWhenToldToStop(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {status: 429, header: map[string]string{"Retry-After": "100"}}})
	ctx, cancel := context.WithCancel(t.Context())
	c := client(t, Options{API: s.URL, Sleep: func(ctx context.Context, pause time.Duration) error {
		cancel()
		return fetch.Sleep(ctx, pause)
	}})
	if _, err := c.Head(ctx, "nixos-unstable"); !errors.Is(err, context.Canceled) {
		t.Errorf("Head = %v", err)
	}
}

// network is a transport without sockets.
type network func(*http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

// Once the limit is known to be used up, asking again only makes matters worse.
func TestRateLimitIsRemembered(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {status: 403, file: "rate-limit.json", header: map[string]string{
		"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800",
	}}})
	c := client(t, Options{API: s.URL})
	for range 3 {
		var limit *RateLimitError
		if _, err := c.Head(t.Context(), "nixos-unstable"); !errors.As(err, &limit) {
			t.Errorf("Head = %v", err)
		}
	}
	if n := len(s.paths()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestNewClient(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		base    string // "": an error
	}{
		{"nothing", Options{}, "https://api.github.com/"},
		{"enterprise", Options{API: "https://ghe.example.org/api/v3/"}, "https://ghe.example.org/api/v3/"},
		{"enterprise without slash", Options{API: "https://ghe.example.org/api/v3"}, "https://ghe.example.org/api/v3/"},
		{"local", Options{API: "http://127.0.0.1:8080", Token: "x"}, "http://127.0.0.1:8080/"},
		{"local by name", Options{API: "http://localhost:8080/", Token: "x"}, "http://localhost:8080/"},
		{"local, IPv6", Options{API: "http://[::1]:8080/", Token: "x"}, "http://[::1]:8080/"},
		{"clear text without a token", Options{API: "http://ghe.example.org/"}, "http://ghe.example.org/"},
		{"clear text with a token", Options{API: "http://ghe.example.org/", Token: "s3cr3t"}, ""},
		{"token with a line break inside", Options{Token: "s3cr3t\nX-Header: 1"}, ""},
		{"token with a line break behind", Options{Token: "s3cr3t\n"}, "https://api.github.com/"},
		{"password in the address", Options{API: "https://me:s3cr3t@ghe.example.org/"}, ""},
		{"query in the address", Options{API: "https://ghe.example.org/?token=s3cr3t"}, ""},
		{"no host", Options{API: "https:///api"}, ""},
		{"other scheme", Options{API: "ssh://ghe.example.org/"}, ""},
		{"no URL", Options{API: "https://%zz/"}, ""},
		{"repository without owner", Options{Repository: "nixpkgs"}, ""},
		{"repository with more", Options{Repository: "a/b/c"}, ""},
		{"repository that climbs", Options{Repository: "a/.."}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewClient(tt.options)
			if tt.base == "" {
				if err == nil || strings.Contains(err.Error(), "s3cr3t") {
					t.Errorf("NewClient = %v", err)
				}
				return
			}
			if err != nil || c.github.BaseURL.String() != tt.base {
				t.Errorf("NewClient = %v, %v", c, err)
			}
		})
	}
}

func TestEnterprisePath(t *testing.T) {
	s := start(t, map[string]reply{"/api/v3" + branchPath + "nixos-unstable": {file: "branch.json"}})
	if _, err := client(t, Options{API: s.URL + "/api/v3"}).Head(t.Context(), "nixos-unstable"); err != nil {
		t.Error(err)
	}
}

func TestCancelled(t *testing.T) {
	s := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, Options{API: s.URL}).Head(ctx, "nixos-unstable"); !errors.Is(err, context.Canceled) || len(s.paths()) != 0 {
		t.Errorf("Head = %v after %d requests", err, len(s.paths()))
	}
}

// What fails for a passing reason is asked again by the default client.
func TestDefaultClientRepeats(t *testing.T) {
	c, err := NewClient(Options{})
	if err != nil {
		t.Fatal(err)
	}
	failures := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failures++; failures == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Write(readFile(t, "branch.json"))
	}))
	defer s.Close()
	c.github.BaseURL, err = c.github.BaseURL.Parse(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Head(t.Context(), "nixos-unstable"); err != nil || got.Commit != want {
		t.Errorf("Head = %v, %v", got, err)
	}
}
