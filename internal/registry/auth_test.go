package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// reaches is a transport for which every host is at one address.
func reaches(addr string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
}

func openNamed(t *testing.T, at string, o Options, options ...name.Option) Repository {
	t.Helper()
	repo, err := name.NewRepository(at, options...)
	if err != nil {
		t.Fatal(err)
	}
	o.Sleep = (&waits{}).sleep
	r, err := Remote(repo, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Plain HTTP is spoken on this machine, at private addresses, and where the
// destination says so; credentials go over it in the first case and the last.
func TestPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		what, at string
		plain    bool
		login    bool // the registry wants one
		want     string
	}{
		{"a name", "registry.example.org:5000", false, false, "write http://registry.example.org:5000/..."},
		{"a name, on purpose", "registry.example.org:5000", true, false, ""},
		{"a name, on purpose, with a login", "registry:5000", true, true, ""},
		{"a private address", "10.0.0.7:5000", false, false, ""},
		{"a private address with a login", "10.0.0.7:5000", false, true, "write http://10.0.0.7:5000/..."},
		{"a private address with a login, on purpose", "10.0.0.7:5000", true, true, ""},
		{"this machine with a login", "127.0.0.1:5000", false, true, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			odd := &registrytest.Odd{}
			if tt.login {
				odd.Tokens = &registrytest.Tokens{}
			}
			var logins atomic.Int64
			registry := odd.Handler()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					logins.Add(1)
				}
				registry.ServeHTTP(w, r)
			}))
			defer server.Close()
			var options []name.Option
			if tt.plain {
				options = append(options, name.Insecure)
			}
			transport := reaches(server.Listener.Addr().String())
			defer transport.CloseIdleConnections()
			r := openNamed(t, tt.at+"/org/a", Options{Transport: transport, Keychain: ann, Push: true}, options...)
			_, err := r.Digest(t.Context(), "one")
			if tt.want == "" {
				index := randomIndex(t)
				err = errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one"))
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "speaks plain HTTP") {
				t.Errorf("Digest() = %v, want %q", err, tt.want)
			}
			if n := logins.Load(); n > 0 {
				t.Errorf("%d requests with credentials", n)
			}
		})
	}
}

// A proxy that leads from plain HTTP to the same host with encryption says so of every
// request, so http:// has no place before its name.
func TestPlainHTTPLedToTLS(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		var requests atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, status)
		}))
		defer server.Close()
		transport := reaches(server.Listener.Addr().String())
		defer transport.CloseIdleConnections()
		r := openNamed(t, "registry.example.org/org/a", Options{Transport: transport, Keychain: ann, Push: true}, name.Insecure)
		want := fmt.Sprintf("GET http://registry.example.org/v2/: %d %s: the registry speaks TLS only: leave out http://", status, http.StatusText(status))
		if err := r.CanPush(t.Context()); err == nil || !strings.Contains(err.Error(), want) || requests.Load() != 1 {
			t.Errorf("CanPush() = %v after %d requests, want %q after one", err, requests.Load(), want)
		}
	}
}

// A token service that makes a question of a refresh token gives a token to nobody.
func TestRefreshTokenRedirected(t *testing.T) {
	for status, want := range map[int]string{
		301: "301 Moved Permanently: redirected to ", 302: "302 Found: redirected to ", 303: "303 See Other: redirected to ",
		307: "", 308: "",
	} {
		tokens := &registrytest.Tokens{}
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, "/token/?scope=repository:org/a:pull", status)
				return
			}
			tokens.ServeHTTP(w, r)
		}))
		defer service.Close()
		tokens.Realm = service.URL + "/token"
		odd := &registrytest.Odd{Tokens: tokens}
		refresh := keychain{authn.FromConfig(authn.AuthConfig{IdentityToken: "ann's"})}
		err := openNamed(t, odd.Serve(t)+"/org/a", Options{Keychain: refresh, Push: true}).CanPush(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d: CanPush() = %v, want %q", status, err, want)
		}
	}
}

// Rights are asked for as they are needed: a reader asks for those of reading,
// and a login that gets no token for pushing can still read.
func TestScopes(t *testing.T) {
	const reading, pushing = "repository:org/a:pull", "repository:org/a:pull,push"
	for _, tt := range []struct {
		what     string
		keychain authn.Keychain
		push     bool
		only     string // what tokens are issued for; "": anything
		want     []string
	}{
		{"nobody", nil, true, "", []string{reading}},
		{"a reader", ann, false, "", []string{reading}},
		{"a publisher", ann, true, "", []string{pushing}},
		{"a publisher who may only read", ann, true, reading, []string{pushing, reading, reading}},
		{"by a refresh token", keychain{authn.FromConfig(authn.AuthConfig{IdentityToken: "ann's"})}, true, "", []string{pushing}},
	} {
		var asked []string
		odd := &registrytest.Odd{Tokens: &registrytest.Tokens{Grant: func(s []string) []string {
			asked = append(asked, s...)
			if tt.only != "" && !slices.Equal(s, []string{tt.only}) {
				return nil
			}
			return s
		}}}
		r := openNamed(t, odd.Serve(t)+"/org/a", Options{Keychain: tt.keychain, Push: tt.push})
		for range 3 {
			if _, err := r.Digest(t.Context(), "one"); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: Digest() = %v, want ErrNotFound", tt.what, err)
			}
		}
		asked = slices.Compact(asked)
		if diff := cmp.Diff(slices.Compact(slices.Clone(tt.want)), asked); diff != "" {
			t.Errorf("%s: scopes (-want +got):\n%s", tt.what, diff)
		}
		if tt.only != "" {
			if err := r.CanPush(t.Context()); err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "docker login") {
				t.Errorf("%s: CanPush() = %v, want an error that says 403 and what to do", tt.what, err)
			}
		}
	}
}

// A token is used as long as it lives, and a new one asked for before it ends.
func TestTokensAreKept(t *testing.T) {
	clock := time.Now()
	now = func() time.Time { return clock }
	defer func() { now = time.Now }()
	odd := &registrytest.Odd{Tokens: &registrytest.Tokens{}}
	r := openNamed(t, odd.Serve(t)+"/org/a", Options{Keychain: ann})
	for i, want := range []int{1, 1, 2} {
		if _, err := r.Digest(t.Context(), "one"); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if odd.Tokens.Issued != want {
			t.Errorf("request %d: %d tokens, want %d", i, odd.Tokens.Issued, want)
		}
		clock = clock.Add(40 * time.Second)
	}
	odd.Tokens.Good = func(*http.Request) bool { return odd.Tokens.Issued > 2 }
	if _, err := r.Digest(t.Context(), "one"); !errors.Is(err, ErrNotFound) || odd.Tokens.Issued != 3 {
		t.Errorf("a token that is not taken any more: %v, %d tokens, want a third", err, odd.Tokens.Issued)
	}
}

// A token service may be at another port of the registry.
func TestTokenServiceOnAnotherPort(t *testing.T) {
	tokens := &registrytest.Tokens{}
	service := httptest.NewServer(tokens)
	defer service.Close()
	tokens.Realm = service.URL + "/token"
	odd := &registrytest.Odd{Tokens: tokens}
	r := openNamed(t, odd.Serve(t)+"/org/a", Options{Keychain: ann, Push: true})
	if err := r.Push(t.Context(), randomIndex(t)); err != nil {
		t.Error(err)
	}
	if tokens.Issued == 0 {
		t.Error("nobody asked the token service")
	}
}

func TestMayIssue(t *testing.T) {
	for _, tt := range []struct{ registry, scheme, realm, trusted, want string }{
		{"docker.io", "https", "https://auth.docker.io/token", "", ""},
		{"10.0.0.7:5000", "https", "https://10.0.0.7:5001/token", "", ""},
		{"10.0.0.7:5000", "https", "https://10.0.0.7/token", "", ""},
		{"10.0.0.7:5000", "http", "http://10.0.0.7:5001/token", "", ""},
		{"[fd00::7]:5000", "https", "https://[fd00::7]:5001/token", "", ""},
		{"gitlab.example.org:5050", "http", "http://gitlab.example.org/jwt/auth", "", ""},
		{"gitlab.example.org:5050", "https", "http://gitlab.example.org/jwt/auth", "", "speaks plain HTTP"},
		{"registry.example.org", "http", "http://auth.example.org/token", "", "speaks plain HTTP"},
		{"registry.example.org", "http", "http://auth.example.org/token", "auth.example.org", ""},
		{"registry.example.org", "https", "https://10.0.0.8:5001/token", "", "REGISTRY_TRUSTED_HOSTS=10.0.0.8:5001"},
		{"registry.example.org", "https", "https://10.0.0.8:5001/token", "10.0.0.8:5001", ""},
		{"registry.example.org", "https", "https://10.0.0.8:5002/token", "10.0.0.8:5001", "private address"},
		{"registry.example.org", "https", "https://169.254.169.254/token", "", "private address"},
		{"registry.example.org", "https", "https://[::ffff:10.0.0.8]/token", "", "private address"},
		{"registry.example.org", "https", "https://2130706433/token", "", "private address"},
		{"registry.example.org", "https", "https://0x7f.1/token", "", "private address"},
		{"registry.example.org", "https", "file:///etc/passwd", "", "not a URL"},
		{"registry.example.org", "https", "/token", "", "not a URL"},
	} {
		registry, err := name.NewRegistry(tt.registry)
		if err != nil {
			t.Fatal(err)
		}
		h := newHost(registry, Options{TrustedHosts: strings.Fields(tt.trusted)})
		h.scheme = tt.scheme
		realm, err := url.Parse(tt.realm)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.mayIssue(realm); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s, trusting %q: %s = %v, want %q", tt.registry, tt.trusted, tt.realm, err, tt.want)
		}
	}
}

// Where an upload goes on, as registries behind a proxy say it.
func TestLocation(t *testing.T) {
	for _, tt := range []struct{ asked, given, want string }{
		{"https://r.example.org/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1?s=2", "https://r.example.org/v2/a/blobs/uploads/1?s=2"},
		{"https://r.example.org/v2/a/blobs/uploads/", "http://r.example.org/u/1", "https://r.example.org/u/1"},
		{"https://r.example.org:5000/v2/a/blobs/uploads/", "http://r.example.org/u/1", "https://r.example.org:5000/u/1"},
		{"https://r.example.org:5000/v2/a/blobs/uploads/", "https://r.example.org:6000/u/1", "https://r.example.org:6000/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "https://r.example.org:443/u/1", "https://r.example.org/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "http://r.example.org:80/u/1", "https://r.example.org/u/1"},
		{"https://r.example.org:443/v2/a/blobs/uploads/", "https://r.example.org/u/1", "https://r.example.org:443/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "https://r.example.org:6000/u/1", "https://r.example.org:6000/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "https://storage.example.org/u/1", "https://storage.example.org/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "http://storage.example.org/u/1", "error: without encryption"},
		{"https://r.example.org/v2/a/blobs/uploads/", "https://169.254.169.254/u/1", "error: a private address"},
		{"https://10.0.0.7/v2/a/blobs/uploads/", "https://10.0.0.8/u/1", "https://10.0.0.8/u/1"},
		{"https://r.example.org/v2/a/blobs/uploads/", "", "error: no Location"},
		{"https://r.example.org/v2/a/blobs/uploads/", "https://r.example.org:x/", "error: not a URL"},
	} {
		asked, err := url.Parse(tt.asked)
		if err != nil {
			t.Fatal(err)
		}
		registry, err := name.NewRegistry(asked.Host)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{Request: &http.Request{Method: "POST", URL: asked}, Header: http.Header{"Location": {tt.given}}}
		got, err := newHost(registry, Options{}).location(resp, "")
		if message, wrong := strings.CutPrefix(tt.want, "error: "); wrong {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s -> %s: %q, %v, want %s", tt.asked, tt.given, got, err, message)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s -> %s: %q, %v, want %s", tt.asked, tt.given, got, err, tt.want)
		}
	}
}

func TestParseChallenges(t *testing.T) {
	for line, want := range map[string]string{
		`Bearer realm="https://a/t",service="x",scope="repository:a:pull,push"`: `bearer map[realm:https://a/t scope:repository:a:pull,push service:x]`,
		`BASIC realm="a \"b\", c"`:                           `basic map[realm:a "b", c]`,
		`Negotiate, Basic realm=a, Bearer realm = "b" , x=y`: `negotiate map[] basic map[realm:a] bearer map[realm:b x:y]`,
		`Bearer`:              `bearer map[]`,
		``:                    ``,
		`=`:                   ``,
		`Bearer realm="open`:  `bearer map[realm:open]`,
		`realm="of nothing"`:  ``,
		"Bearer \x00=1,,,b=2": "bearer map[\x00:1 b:2]",
	} {
		got := ""
		for _, c := range parseChallenges(line) {
			got += fmt.Sprintf(" %s %v", c.scheme, c.params)
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("parseChallenges(%q) = %q, want %q", line, got, want)
		}
	}
}
