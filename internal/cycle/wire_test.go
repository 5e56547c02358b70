package cycle_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
)

// log is what the factory logged.
type log struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Write(p)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.String()
}

// wire is the way to registries: it remembers what went over it, and breaks
// where a test wants it to.
type wire struct {
	keychain authn.Keychain
	mu       sync.Mutex
	fault    func(*http.Request) (*http.Response, error) // both nil: no fault
	sent     []string                                    // "METHOD path"
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.sent = append(w.sent, r.Method+" "+r.URL.Path)
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		if resp, err := fault(r); resp != nil || err != nil {
			if r.Body != nil {
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
			return resp, err
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (w *wire) fails(fault func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = nil
}

// manifests are the requests for manifests, as "METHOD path".
func (w *wire) manifests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.sent), func(s string) bool { return !strings.Contains(s, "/manifests/") })
}

// count counts requests of a method, "" for all, whose path has a part.
func (w *wire) count(method, part string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sent {
		m, path, _ := strings.Cut(s, " ")
		if (m == method || method == "") && strings.Contains(path, part) {
			n++
		}
	}
	return n
}

// answer is an answer of a registry with an error.
func answer(r *http.Request, status int) *http.Response {
	body := fmt.Sprintf(`{"errors":[{"code":"UNKNOWN","message":"status %d, says the test"}]}`, status)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Content-Type": {"application/json"}},
		Body:    io.NopCloser(strings.NewReader(body)),
		Request: r,
	}
}
