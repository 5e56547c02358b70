package fetch

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// seen is what a server was asked, with the authorization it was shown.
type seen struct {
	*httptest.Server
	mu  sync.Mutex
	all []string
}

func (s *seen) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.all, ", ")
}

func watchFor(t *testing.T, handler http.HandlerFunc) *seen {
	t.Helper()
	s := &seen{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.all = append(s.all, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Authorization")))
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWithToken(t *testing.T) {
	elsewhere := watchFor(t, func(w http.ResponseWriter, r *http.Request) {})
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // requests to the host
		away    string // requests to another one
		fails   bool
	}{
		{"private", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(404)
			}
		}, "/a Bearer t0ken", "", false},
		{"public, and the token is not for it", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				w.WriteHeader(403)
			}
		}, "/a Bearer t0ken, /a", "", false},
		{"not there", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, "/a Bearer t0ken, /a", "", true},
		{"renamed", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/new" {
				http.Redirect(w, r, "/new", http.StatusMovedPermanently)
			}
		}, "/a Bearer t0ken, /new Bearer t0ken", "", false},
		{"on another port", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/there", http.StatusFound)
		}, "/a Bearer t0ken", "/there", false},
		{"on another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)+"/there", http.StatusFound)
		}, "/a Bearer t0ken", "/there", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			elsewhere.all = nil
			host := watchFor(t, tt.handler)
			base, err := url.Parse(host.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, err = quick(t).WithToken("t0ken", base).Get(t.Context(), host.URL+"/a", 10)
			if (err != nil) != tt.fails {
				t.Errorf("Get: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "t0ken") {
				t.Errorf("the token is in %v", err)
			}
			if got := host.list(); got != tt.want {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
			if got := elsewhere.list(); got != tt.away {
				t.Errorf("asked elsewhere %q, want %q", got, tt.away)
			}
		})
	}
}
