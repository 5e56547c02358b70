package registry

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// Options are how registries are spoken to.
type Options struct {
	Keychain  authn.Keychain    // nil: nobody's credentials
	Transport http.RoundTripper // nil: Transport()
	UserAgent string
	Jobs      int           // blobs sent at once to one repository, 0: 4
	Backoff   time.Duration // before the first retry, 0: one second
	Whole     int64         // blobs of at most so many bytes are sent by one request, larger ones by two; 0: 4 MiB, -1: none
	Sent      *atomic.Int64 // grows by every byte of a request's body; may be nil

	// Sleep waits between tries, nil: by the clock. Its error, as of a
	// context that ended, is the end of the tries.
	Sleep func(context.Context, time.Duration) error

	// Push asks with the rights that a push needs where there are
	// credentials. Registries then say of a repository that does not exist
	// that it is not there, and not that it must not be read.
	Push bool

	// TrustedHosts, as HOST or HOST:PORT, may issue tokens for credentials and
	// be redirected to although they are private addresses or speak plain HTTP.
	TrustedHosts []string
}

// ParseHosts reads a list of TrustedHosts, with spaces or commas between them.
func ParseHosts(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// Client speaks to registries. Its repositories share what they learn of a
// host: tokens, and which repository has which blob.
type Client struct {
	o Options

	mu    sync.Mutex
	hosts map[name.Registry]*host
}

// NewClient returns a client that has asked nobody yet.
func NewClient(o Options) *Client {
	if o.Keychain == nil {
		o.Keychain = authn.NewMultiKeychain()
	}
	if o.Transport == nil {
		o.Transport = Transport()
	}
	if o.Jobs == 0 {
		o.Jobs = 4
	}
	if o.Whole == 0 {
		// One request less is a third of what a small blob costs a registry. One that
		// fails at its end, though, has all of the blob sent again.
		o.Whole = 4 << 20
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.Sleep == nil {
		o.Sleep = fetch.Sleep
	}
	if o.Sent != nil {
		o.Transport = counting{o.Transport, o.Sent}
	}
	return &Client{o: o, hosts: map[name.Registry]*host{}}
}

// Repository returns a repository in a registry. Nothing is asked before one
// of its methods is called.
func (c *Client) Repository(repo name.Repository) (Repository, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.hosts[repo.Registry]
	if !ok {
		h = newHost(repo.Registry, c.o)
		c.hosts[repo.Registry] = h
	}
	return newRemote(repo, h)
}

// Remote returns a repository in a registry that shares nothing with others.
func Remote(repo name.Repository, o Options) (Repository, error) {
	return NewClient(o).Repository(repo)
}
