package cycle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// The end of a lookup is that of whoever looks, also of one who takes a while to stop.
func TestLookupEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := true
		l := newLookup(t.Context(), func(ctx context.Context) reuse.Index {
			<-ctx.Done()
			time.Sleep(time.Second)
			looks = false
			return reuse.Index{}
		})
		l.begin()
		l.end()
		if looks {
			t.Error("somebody still looks")
		}
		if _, err := l.wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Nobody looks where nobody asked before the end.
func TestLookupUnused(t *testing.T) {
	l := newLookup(t.Context(), func(context.Context) reuse.Index {
		t.Error("somebody looks")
		return reuse.Index{}
	})
	l.end()
	if _, err := l.wait(t.Context()); err != nil {
		t.Error(err)
	}
}
