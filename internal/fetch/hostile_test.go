package fetch_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
)

// Documents (narinfos) and streams (NARs, archives) end soon whatever a server does.
func TestHostileServer(t *testing.T) {
	read := map[string]func(context.Context, *fetch.Client, string) error{
		"document": func(ctx context.Context, c *fetch.Client, url string) error {
			_, err := c.Get(ctx, url, 1<<20)
			return err
		},
		"stream": func(ctx context.Context, c *fetch.Client, url string) error {
			body, err := c.Open(ctx, url, 100<<20)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(io.Discard, body)
			return err
		},
	}
	for name, ask := range read {
		for _, kind := range fetchtest.Kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int64
				bad := fetchtest.Hostile(t, kind)
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					bad(w, r)
				}))
				defer server.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := fetch.New(fetch.Options{Limits: fetchtest.Limits(), Attempts: 2, Delay: time.Millisecond})
				if err := ask(ctx, c, server.URL); err == nil || ctx.Err() != nil {
					t.Errorf("error %v", err)
				}
				if n := requests.Load(); n > 20 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}
