package registry

import (
	"net/http"
	"strings"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// maxDocument bounds what a registry may say: manifests, tokens, answers to
// uploads. Blobs are bounded by their descriptors.
const maxDocument = 16 << 20

// Transport returns the transport for registries, which all conversations
// share. The library above it waits, reads and follows redirects without end.
var Transport = sync.OnceValue(func() http.RoundTripper {
	return fetch.Guard(nil, fetch.Limits{Bound: Bound})
})

// Bound is that of fetch.Limits, for registries.
func Bound(r *http.Request) int64 {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha") {
		return -1
	}
	return maxDocument
}
