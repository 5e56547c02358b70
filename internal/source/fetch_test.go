package source

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// An archive that ends too early is fetched again, and given up after a while.
func TestFetchAgain(t *testing.T) {
	plain := tarOf(t, orders...)
	zipped := zip(t, plain)
	part := func(data []byte) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.Write(data) }
	}
	broken := func(w http.ResponseWriter) {
		w.Write(zipped[:len(zipped)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	announced := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", strconv.Itoa(len(zipped)))
		broken(w)
	}
	for _, tt := range []struct {
		what     string
		first    []func(http.ResponseWriter) // answers; what follows is the archive
		requests int
		err      error
	}{
		{"whole", nil, 1, nil},
		{"a proxy lost the end", []func(http.ResponseWriter){part(zipped[:len(zipped)/2]), part(zipped[:20])}, 3, nil},
		{"its maker lost the end", []func(http.ResponseWriter){part(zip(t, plain[:1024]))}, 2, nil},
		{"broken off, and of no known length", []func(http.ResponseWriter){broken}, 3, nil},
		{"broken off", []func(http.ResponseWriter){announced}, 2, nil},
		{"always too short", []func(http.ResponseWriter){part(zipped[:9]), part(zipped[:9]), part(zipped[:9]), part(zipped[:9])}, 3, io.ErrUnexpectedEOF},
		{"no archive", []func(http.ResponseWriter){part([]byte("<html>Not for you.</html>"))}, 1, errAny},
	} {
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests <= len(tt.first) {
				tt.first[requests-1](w)
				return
			}
			if strings.HasSuffix(tt.what, "broken off") {
				w.Header().Set("Content-Length", strconv.Itoa(len(zipped)))
			}
			w.Write(zipped)
		}))
		tree, err := Fetch(t.Context(), fetch.New(fetch.Options{Delay: time.Millisecond}), server.URL, Options{Dir: t.TempDir()})
		if (err == nil) != (tt.err == nil) || tt.err != errAny && !errors.Is(err, tt.err) || requests != tt.requests {
			t.Errorf("%s: %v after %d requests, want %v and %d", tt.what, err, requests, tt.err, tt.requests)
		}
		if err == nil {
			if want := read(t, zipped).NarHash; tree.NarHash != want {
				t.Errorf("%s: NAR hash is %v, want %v", tt.what, tree.NarHash, want)
			}
			tree.Close()
		}
		server.Close()
	}
}

var errAny = errors.New("any error")
