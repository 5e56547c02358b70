package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// host is what repositories of one registry share.
type host struct {
	registry name.Registry
	o        Options
	blobs    places
	refuses  [2]atomic.Bool // by way: whether the registry does not know it

	beginning sync.Mutex // held while the registry is asked how to speak to it

	mu        sync.Mutex
	scheme    string     // "" before the registry was asked
	challenge *challenge // nil: it asks for no login
	logins    map[string]login
	tokens    map[string]*token
	wider     map[string][]string // what the registry wants to see in a token, by what seemed enough
}

func newHost(registry name.Registry, o Options) *host {
	return &host{
		registry: registry,
		o:        o,
		blobs:    places{at: map[v1.Hash]string{}, held: map[v1.Hash]chan struct{}{}, refused: map[[2]string]bool{}},
		logins:   map[string]login{},
		tokens:   map[string]*token{},
		wider:    map[string][]string{},
	}
}

// begin finds out whether the registry speaks TLS, and what login it asks for.
// A failure is not remembered.
func (h *host) begin(ctx context.Context) error {
	h.beginning.Lock()
	defer h.beginning.Unlock()
	if scheme, _ := h.spoken(); scheme != "" {
		return nil
	}
	if h.declaredPlain() {
		return h.ping(ctx, "http")
	}
	err := h.ping(ctx, "https")
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case h.registry.Scheme() == "http": // on this machine, or at a private address
		if h.ping(ctx, "http") == nil {
			return nil
		}
	case speaksPlain(err):
		return fmt.Errorf("%s speaks plain HTTP, without encryption: if that is meant, write http://%s/... as the destination (%w)", h.registry, h.registry, err)
	}
	return err
}

// ping asks for the root of the API, as the specification wants it.
func (h *host) ping(ctx context.Context, scheme string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+h.registry.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := h.patiently(req, h.send)
	if err != nil {
		return requestError(req, err)
	}
	defer drain(resp)
	if leadsToTLS(resp) {
		return fmt.Errorf("%s: %d %s: the registry speaks TLS only: leave out http:// before %s", place(req), resp.StatusCode, http.StatusText(resp.StatusCode), h.registry)
	}
	if resp.StatusCode == http.StatusBadRequest && scheme == "http" || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return answerOf(resp, "")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scheme = scheme
	if resp.StatusCode == http.StatusUnauthorized {
		h.challenge = challengeOf(resp)
	}
	return nil
}

// leadsToTLS tells whether plain HTTP is answered by the way to the same host with
// encryption, as many proxies do. Every request would be led there.
func leadsToTLS(resp *http.Response) bool {
	to, err := resp.Location()
	asked := resp.Request.URL
	return err == nil && resp.StatusCode/100 == 3 && asked.Scheme == "http" && to.Scheme == "https" && to.Host == asked.Host
}

// spoken returns what begin found out.
func (h *host) spoken() (scheme string, c *challenge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scheme, h.challenge
}

// speaksPlain tells whether TLS failed because the other side does not speak it.
func speaksPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record)
}

// declaredPlain tells whether the destination says that it speaks plain HTTP.
func (h *host) declaredPlain() bool {
	if h.registry.Scheme() != "http" {
		return false
	}
	secure, err := name.NewRegistry(h.registry.RegistryStr())
	return err == nil && secure != h.registry
}

// local tells whether the registry is on this machine.
func (h *host) local() bool {
	at := hostname(h.registry.RegistryStr())
	if ip := net.ParseIP(at); ip != nil {
		return ip.IsLoopback()
	}
	return at == "localhost" || strings.HasSuffix(at, ".localhost")
}

// own tells whether a URL is one of the registry. The usual port may be named or not.
func (h *host) own(u *url.URL) bool {
	at := h.registry.RegistryStr()
	scheme, _ := h.spoken()
	return u.Host == at || u.Scheme == scheme && strings.EqualFold(portNamed(scheme, u.Host), portNamed(scheme, at))
}

// portNamed is a host with the port that is spoken to.
func portNamed(scheme, host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(hostname(host), port)
}

// hostname is a host without its port.
func hostname(host string) string {
	if at, _, err := net.SplitHostPort(host); err == nil {
		return at
	}
	return strings.Trim(host, "[]")
}

// places knows which repository of a host has a blob, and lets one repository
// at a time send it: the next one then mounts it.
type places struct {
	mu      sync.Mutex
	at      map[v1.Hash]string
	held    map[v1.Hash]chan struct{}
	refused map[[2]string]bool // from, to: the registry does not mount; from is "" for all
}

// maxPlaces keeps a daemon's memory small. What is forgotten is uploaded.
const maxPlaces = 50_000

func (p *places) add(digest v1.Hash, repository string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.at) >= maxPlaces {
		clear(p.at)
	}
	p.at[digest] = repository
}

// source returns a repository that a blob can be mounted from, or "".
func (p *places) source(digest v1.Hash, to string) string {
	p.mu.Lock()
	from := p.at[digest]
	p.mu.Unlock()
	return p.other(from, to)
}

// other returns from, or "" where mounting is of no use.
func (p *places) other(from, to string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if from == to || p.refused[[2]string{from, to}] || p.refused[[2]string{"", to}] {
		return ""
	}
	return from
}

func (p *places) refuse(from, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[[2]string{from, to}] = true
}

// hold waits until nobody else of this host sends the blob.
func (p *places) hold(ctx context.Context, digest v1.Hash) (release func(), err error) {
	for {
		p.mu.Lock()
		other := p.held[digest]
		if other == nil {
			done := make(chan struct{})
			p.held[digest] = done
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.held, digest)
				close(done)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// now is the clock by which tokens expire.
var now = time.Now
