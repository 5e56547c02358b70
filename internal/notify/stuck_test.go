package notify

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
)

// Whatever a webhook's server does, telling it ends soon. Of an answer the status
// is enough.
func TestStuckWebhook(t *testing.T) {
	for _, kind := range fetchtest.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(fetchtest.Hostile(t, kind))
			defer server.Close()
			taken, attempts := kind == fetchtest.BodyDrips || kind == fetchtest.NoEnd || kind == fetchtest.Reset, 2
			if taken {
				attempts = 10 // a busy machine may be late with good answers, too
			}
			o := fetch.Options{Attempts: attempts, Delay: time.Millisecond, Limits: fetch.Limits{Stall: 150 * time.Millisecond, Answer: 150 * time.Millisecond}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := newHooks(t, o, Hook{URL: server.URL}).Send(ctx, Event{Event: Failed})
			if ctx.Err() != nil || (err == nil) != taken {
				t.Errorf("Send: %v", err)
			}
		})
	}
}
