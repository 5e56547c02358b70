package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestSite(t *testing.T) {
	modified := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	site := Files{Content: map[string][]byte{"index.html": []byte("<p>index"), "a/b.atom": []byte("<feed/>")}, Modified: modified}
	var broken error
	load := func(context.Context) (Files, error) { return site, broken }
	registry := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "registry") })
	handler := With(registry, Site(load, SecurityHeaders("default-src 'none'")))
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	index := ask("GET", "/")
	etag := index.Header().Get("ETag")
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
		body, kind   string
	}{
		{"GET", "/", nil, 200, "<p>index", "text/html; charset=utf-8"},
		{"GET", "/index.html", nil, 200, "<p>index", "text/html; charset=utf-8"},
		{"GET", "/a/b.atom", nil, 200, "<feed/>", "application/atom+xml"},
		{"HEAD", "/", nil, 200, "", "text/html; charset=utf-8"},
		{"GET", "/", []string{"If-None-Match", etag}, 304, "", ""},
		{"GET", "/", []string{"If-None-Match", `"another"`}, 200, "<p>index", "text/html; charset=utf-8"},
		{"GET", "/", []string{"If-Modified-Since", modified.Format(http.TimeFormat)}, 304, "", ""},
		{"GET", "/a", nil, 404, "no such page; images are pulled from /v2/\n", "text/plain; charset=utf-8"},
		{"GET", "/a/../index.html", nil, 404, "no such page; images are pulled from /v2/\n", "text/plain; charset=utf-8"},
		{"POST", "/", nil, 405, "these pages are read-only\n", "text/plain; charset=utf-8"},
		{"GET", "/v2/", nil, 200, "registry", "text/plain; charset=utf-8"},
		{"GET", "/v2", nil, 200, "registry", "text/plain; charset=utf-8"},
		{"GET", "/v2/x/manifests/y", nil, 200, "registry", "text/plain; charset=utf-8"},
		{"GET", "/v20", nil, 404, "no such page; images are pulled from /v2/\n", "text/plain; charset=utf-8"},
	} {
		w := ask(tt.method, tt.path, tt.header...)
		if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("Content-Type") != tt.kind {
			t.Errorf("%s %s %v: %d %q %q, want %d %q %q", tt.method, tt.path, tt.header, w.Code, w.Body, w.Header().Get("Content-Type"), tt.status, tt.body, tt.kind)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(tt.path, "/v2/") && tt.path != "/v2" && policy != "default-src 'none'; frame-ancestors 'none'" {
			t.Errorf("%s: policy %q", tt.path, policy)
		}
	}
	site.Content["index.html"] = []byte("<p>other")
	if w := ask("GET", "/", "If-None-Match", etag); w.Code != 200 {
		t.Errorf("after a change: %d", w.Code)
	}
	broken = errors.New("/home/bob/factory.db")
	if w := ask("GET", "/"); w.Code != 500 || strings.Contains(w.Body.String(), "bob") {
		t.Errorf("what cannot be made: %d %q", w.Code, w.Body)
	}
}
