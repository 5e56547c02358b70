package upload

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// Whatever a server does to one kind of request, a push ends soon.
func TestAtticStuck(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		for _, kind := range fetchtest.Kinds {
			t.Run(method+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := startAttic(t, attictest.Options{})
				bad := fetchtest.Hostile(t, kind)
				s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != method {
						return false
					}
					bad(w, r)
					return true
				})
				shelf := few(t)
				attic := quick(s)
				// What was put is there, whatever becomes of the rest of the answer.
				good, attempts := method == http.MethodPut && (kind == fetchtest.BodyDrips || kind == fetchtest.Reset), 2
				if good {
					attempts = 10 // a busy machine may be late with good answers, too
				}
				attic.Client = fetch.New(fetch.Options{Attempts: attempts, Delay: time.Millisecond, Limits: fetch.Limits{Stall: fetchtest.Limits().Stall / 2}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := attic.Push(ctx, shelf.infos, shelf)
				if ctx.Err() != nil || (err == nil) != good {
					t.Errorf("Push: %v", err)
				}
			})
		}
	}
}
