package heads

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
)

// Whatever the API does: an error, soon.
func TestHostileAPI(t *testing.T) {
	for _, kind := range fetchtest.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(fetchtest.Hostile(t, kind))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f := fetch.New(fetch.Options{Limits: fetchtest.Limits(), Attempts: 2, Delay: time.Millisecond})
			c := client(t, Options{API: server.URL, HTTP: &http.Client{Transport: f.Transport()}})
			if _, err := c.Head(ctx, "nixos-unstable"); err == nil || ctx.Err() != nil {
				t.Errorf("Head = %v", err)
			}
		})
	}
}
