package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// Files are those of a web site, by their paths with slashes.
type Files struct {
	Content  map[string][]byte
	Modified time.Time
}

// kinds are the media types of a site's files; those of the machine may be others.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	".atom": "application/atom+xml",
}

// Site offers files that load returns at each request. The headers go with every
// answer.
func Site(load func(context.Context) (Files, error), headers map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "these pages are read-only", http.StatusMethodNotAllowed)
			return
		}
		files, err := load(r.Context())
		if err != nil {
			http.Error(w, "the pages cannot be made now", http.StatusInternalServerError)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		content, ok := files.Content[name]
		if !ok {
			http.Error(w, "no such page; images are pulled from /v2/", http.StatusNotFound)
			return
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok {
			kind = mime.TypeByExtension(path.Ext(name))
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content)))
		w.Header().Set("Cache-Control", "no-cache") // but for questions whether it is the same still
		http.ServeContent(w, r, name, files.Modified, bytes.NewReader(content))
	})
}

// SecurityHeaders are those of pages with a Content-Security-Policy of their own.
// Nobody may put them into a frame, and they tell nobody where a reader came from.
func SecurityHeaders(policy string) map[string]string {
	return map[string]string{
		"Content-Security-Policy":      policy + "; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	}
}

// With offers a registry, and a site beside it.
func With(registry, site http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/") {
			registry.ServeHTTP(w, r)
			return
		}
		site.ServeHTTP(w, r)
	})
}
