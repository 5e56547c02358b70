package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"

	fake "github.com/google/go-containerregistry/pkg/registry"
)

// Odd is a registry in this process with an oddity. Its hooks are called for
// one request at a time.
type Odd struct {
	// Before may answer a request in the registry's place. It returns whether
	// it did. n counts the requests of this method and path so far.
	Before func(w http.ResponseWriter, r *http.Request, n int) bool

	// After may change the header of an answer, and returns its status.
	After func(r *http.Request, header http.Header, status int) int

	// Tokens asks for tokens; nil: everybody may do everything.
	Tokens *Tokens

	mu    sync.Mutex
	seen  map[string]int
	log   []string
	blobs map[string]bool // by repository and digest; the library's registry has them in common
}

// Serve starts the registry on loopback and returns its host and port.
func (o *Odd) Serve(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(o.Handler())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Handler is the registry.
func (o *Odd) Handler() http.Handler {
	inner := fake.New(fake.Logger(log.New(io.Discard, "", 0)))
	o.seen, o.blobs = map[string]int{}, map[string]bool{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		what := r.Method + " " + r.URL.Path
		if r.Method == http.MethodPost && r.URL.RawQuery != "" {
			what += "?" + r.URL.RawQuery
		}
		o.log = append(o.log, what)
		n := o.seen[what]
		o.seen[what]++
		if o.Tokens != nil && !o.Tokens.admit(w, r) || o.Before != nil && o.Before(w, r, n) {
			return
		}
		rec := httptest.NewRecorder()
		switch mount := r.Method == http.MethodPost && r.URL.Query().Has("mount"); {
		case mount && !o.hides(r):
			rec.WriteHeader(http.StatusCreated)
		case mount || !o.hides(r):
			inner.ServeHTTP(rec, r)
		default:
			Refuse(rec, http.StatusNotFound, "BLOB_UNKNOWN", "not in this repository")
		}
		status := rec.Code
		o.keep(r, status)
		if o.After != nil {
			status = o.After(r, rec.Header(), status)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		w.Write(rec.Body.Bytes())
	})
}

var ofBlobs = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)?`)

// hides tells whether a request is for a blob that the repository has not got.
func (o *Odd) hides(r *http.Request) bool {
	m := ofBlobs.FindStringSubmatch(r.URL.Path)
	if q := r.URL.Query(); r.Method == http.MethodPost && q.Has("mount") {
		return !o.blobs[q.Get("from")+"@"+q.Get("mount")]
	}
	return m != nil && m[2] != "" && !o.blobs[m[1]+"@"+m[2]]
}

// keep notes which repository has which blob.
func (o *Odd) keep(r *http.Request, status int) {
	m := ofBlobs.FindStringSubmatch(r.URL.Path)
	if m == nil || status != http.StatusCreated {
		return
	}
	for _, key := range []string{"digest", "mount"} {
		if digest := r.URL.Query().Get(key); digest != "" {
			o.blobs[m[1]+"@"+digest] = true
		}
	}
}

// Asked returns the requests so far as "METHOD /path", those that keep returns
// true for.
func (o *Odd) Asked(keep func(string) bool) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(o.log), func(s string) bool { return !keep(s) })
}

// Refuse answers with an error as registries do.
func Refuse(w http.ResponseWriter, status int, code, message string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"`+message+`"}]}`)
	return true
}
