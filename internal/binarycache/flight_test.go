package binarycache

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

type network func(r *http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

// A cache that is down is not asked for every path, but a minute later it gets another chance.
func TestCacheThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		info := narOf(t, helloBase, []byte("a NAR"), signer)
		down, requests := true, 0
		transport := network(func(r *http.Request) (*http.Response, error) {
			requests++
			if down && r.URL.Host == "down" {
				return nil, errors.New("connection refused")
			}
			body := ""
			if strings.HasSuffix(r.URL.Path, ".narinfo") {
				body = text(t, info)
			}
			return &http.Response{StatusCode: 200, Request: r, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		f := fetch.New(fetch.Options{HTTP: &http.Client{Transport: transport}})
		keys := []nix.PublicKey{signer.Public()}
		c := New(f, []Substituter{{URL: "http://down", Keys: keys}, {URL: "http://up", Keys: keys}})
		alone := New(f, []Substituter{{URL: "http://down", Keys: keys}})

		if _, err := c.Info(t.Context(), info.Path); err != nil || requests != 5+2 {
			t.Errorf("%v after %d requests", err, requests)
		}
		for _, name := range []string{"b", "c"} {
			requests = 0
			c.Info(t.Context(), parsePath(t, strings.Repeat(name, 32)+"-"+name))
			if requests != 1 {
				t.Errorf("%d requests, want that to the other cache alone", requests)
			}
		}
		for range 2 {
			_, err := alone.Info(t.Context(), info.Path)
			want := helloBase + ": GET http://down/nix-cache-info: connection refused (5 attempts)"
			if err == nil || err.Error() != want || errors.Is(err, ErrNotFound) {
				t.Errorf("Info: %v, want %q", err, want)
			}
		}
		time.Sleep(holdOff)
		down = false
		if _, err := alone.Info(t.Context(), info.Path); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}
