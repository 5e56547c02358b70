package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

const (
	tries         = 4 // of anything that may succeed a moment later
	maxRetryAfter = 2 * time.Minute
)

// wire carries the requests of one repository: with its login, and with a
// body from the start however often it has to be sent.
type wire struct {
	host       *host
	repository string
}

func (t wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.GetBody != nil {
		r.Body.Close() // every try has its own
	}
	if !t.host.own(r.URL) { // redirected: the login is not for this one
		return t.host.patiently(r, t.host.send)
	}
	if err := t.host.begin(r.Context()); err != nil {
		return nil, preliminary{err}
	}
	return t.host.patiently(r, func(r *http.Request) (*http.Response, error) {
		return t.host.sendWithLogin(r, t.repository)
	})
}

// patiently asks a question again that a registry could not answer at the
// moment. What writes is repeated by those who know where to begin again.
func (h *host) patiently(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := send(r)
		if r.Method != http.MethodGet && r.Method != http.MethodHead || try == tries-1 {
			return resp, err
		}
		var after time.Duration
		switch {
		case err != nil && !h.passing(err):
			return nil, err
		case err == nil && !busy[resp.StatusCode]:
			return resp, nil
		case err == nil:
			after = retryAfter(resp)
			drain(resp)
		}
		if err := h.wait(r.Context(), try, after); err != nil {
			return nil, err
		}
	}
}

// wait waits before the next try, at least as long as the registry asks for.
func (h *host) wait(ctx context.Context, try int, after time.Duration) error {
	d := h.o.Backoff
	for range try {
		d *= 3
	}
	d += rand.N(d/10 + 1)
	return h.o.Sleep(ctx, max(d, min(after, maxRetryAfter)))
}

// busy are the answers that may be another one a moment later.
var busy = map[int]bool{
	http.StatusRequestTimeout:      true,
	http.StatusTooEarly:            true,
	http.StatusTooManyRequests:     true,
	http.StatusInternalServerError: true,
	http.StatusBadGateway:          true,
	http.StatusServiceUnavailable:  true,
	http.StatusGatewayTimeout:      true,
	499:                            true, // nginx: the client closed the connection
	522:                            true, // Cloudflare: no connection to the registry
}

// passing tells whether a network error may be over a moment later.
func (h *host) passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNABORTED, net.ErrClosed} {
		if errors.Is(err, cause) {
			return true
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return lookup.IsTemporary
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		// Who never answered is not there; who did is about to come back.
		scheme, _ := h.spoken()
		return scheme != ""
	}
	return brokenStream.MatchString(err.Error())
}

// brokenStream matches what HTTP/2 says of a stream or a connection that the other
// side ended. The library does not export the types of these errors.
var brokenStream = regexp.MustCompile(`\bstream error: stream ID |\bconnection error: [A-Z_]+|\bhttp2: .*(GOAWAY|connection|cannot retry)`)

func retryAfter(resp *http.Response) time.Duration {
	pause, _ := fetch.RetryAfter(resp.Header, now())
	return pause
}

// send sends a request once, with a body of its own, so that r can be sent again.
func (h *host) send(r *http.Request) (*http.Response, error) {
	req := r.Clone(r.Context())
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	if h.o.UserAgent != "" {
		req.Header.Set("User-Agent", h.o.UserAgent)
	}
	return h.o.Transport.RoundTrip(req)
}

// drain ends an answer such that the connection can be used again.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// counting counts what requests send.
type counting struct {
	inner http.RoundTripper
	sent  *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = countedBody{r.Body, c.sent}
	}
	return c.inner.RoundTrip(r)
}

type countedBody struct {
	io.ReadCloser
	sent *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sent.Add(int64(n))
	return n, err
}
