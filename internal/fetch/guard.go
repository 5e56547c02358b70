package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Limits say when a server is given up that answers too slowly, too much or
// never. The zero value is sensible.
type Limits struct {
	Stall  time.Duration // one wait: for a connection and an answer, and for Least bytes of a body; 0: 60 s
	Least  int64         // bytes of a body that have to move in Stall of waiting; 0: 32 KiB
	Answer time.Duration // from the end of a request's body to the answer; 0: 5 times Stall

	// Bound returns the most bytes that the answer to a question may have, -1
	// for any number. Of a chain of redirects it is asked about the first
	// request. nil: any.
	Bound func(*http.Request) int64
}

const (
	leastSpeed    = 32 << 10 // with a minute's Stall: half a KiB a second
	answerStalls  = 5        // what was uploaded may have to be hashed and stored before the answer
	maxRedirects  = 10
	maxRefusal    = 64 << 10 // bytes of an answer that is not the wanted one
	headerLimit   = 256 << 10
	connectLimit  = 20 * time.Second
	pingAfter     = 30 * time.Second // HTTP/2 only: a connection that is silent is asked for a sign of life
	pingPatience  = 15 * time.Second
	idleLimit     = 90 * time.Second
	tlsHandshakes = 15 * time.Second
)

// Guard returns a transport that keeps to limits whatever the server does, and
// whatever the HTTP client above it allows. base may be nil, for a transport
// with the proxy of the environment. It repeats nothing.
//
// A server that is too slow is an error of type *StallError. The time in which
// the caller does not read an answer, or has nothing to send, is not counted.
func Guard(base http.RoundTripper, l Limits) http.RoundTripper {
	if base == nil {
		base = newTransport()
	}
	if l.Stall <= 0 {
		l.Stall = time.Minute
	}
	if l.Least <= 0 {
		l.Least = leastSpeed
	}
	if l.Answer <= 0 {
		l.Answer = answerStalls * l.Stall
	}
	return &guard{base, l}
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: connectLimit, KeepAlive: pingAfter}).DialContext
	t.TLSHandshakeTimeout = tlsHandshakes
	t.MaxResponseHeaderBytes = headerLimit
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience}
	t.IdleConnTimeout = idleLimit
	t.DisableCompression = true
	t.MaxIdleConns = 2 * idlePerHost
	t.MaxIdleConnsPerHost = idlePerHost
	return t
}

type guard struct {
	base http.RoundTripper
	Limits
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	first, hops := origin(req)
	if hops >= maxRedirects {
		closeBody(req)
		return nil, errRedirects
	}
	parent := req.Context()
	ctx, cancel := context.WithCancelCause(parent)
	call := &call{guard: g, parent: parent, ctx: ctx, cancel: cancel}
	call.asking.end = cancel
	out := req.WithContext(ctx)
	call.wrapBody(out)
	patience := g.patience(req)
	call.asking.expect(patience, &StallError{"no answer for", patience})
	resp, err := g.base.RoundTrip(out)
	call.asking.finish()
	if err != nil {
		err = call.cause(err)
		cancel(nil)
		return nil, err
	}
	resp.Body = call.receive(resp, g.bound(first, resp))
	return resp, nil
}

// patience is how long a request may be without an answer, and without its body being
// asked for. A PUT that has none ends what was sent before, such as an upload in parts.
func (g *guard) patience(req *http.Request) time.Duration {
	if req.Method == http.MethodPut && (req.Body == nil || req.Body == http.NoBody) {
		return g.Answer
	}
	return g.Stall
}

// CloseIdleConnections is what an http.Client's method of that name looks for.
func (g *guard) CloseIdleConnections() {
	client := http.Client{Transport: g.base}
	client.CloseIdleConnections()
}

// bound returns how many bytes of the answer are wanted, -1 for all.
func (g *guard) bound(first *http.Request, resp *http.Response) bound {
	switch {
	case resp.StatusCode >= http.StatusMultipleChoices:
		return bound{max: maxRefusal, cut: true}
	case g.Bound == nil:
		return bound{max: -1}
	}
	return bound{max: g.Bound(first)}
}

// bound is where an answer ends: with an error, or as if it had nothing more to say.
type bound struct {
	max int64 // -1: nowhere
	cut bool
}

// origin returns the first request of a chain of redirects, and the number of
// those that lead from it to req. Clients above us may follow redirects without end.
func origin(req *http.Request) (first *http.Request, hops int) {
	for req.Response != nil && req.Response.Request != nil && hops <= maxRedirects {
		req = req.Response.Request
		hops++
	}
	return req, hops
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// call is one request under the eyes of a guard.
type call struct {
	*guard
	parent context.Context // of the caller
	ctx    context.Context // of the request; cancelled by a watch
	cancel context.CancelCauseFunc
	asking watch // until the answer's header is there
}

// cause finds out why a request or a read failed: net/http reports a cancelled
// one in many ways.
func (c *call) cause(err error) error {
	if parent := c.parent.Err(); parent != nil {
		return parent
	}
	var stalled *StallError
	if errors.As(context.Cause(c.ctx), &stalled) {
		return stalled
	}
	return said.Error(err) // it may quote what the server sent
}

// wrapBody has the body of a request watched, also when the transport starts
// it again on another connection.
func (c *call) wrapBody(req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		return
	}
	again := req.GetBody
	req.Body = c.send(req.Body)
	if again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			return c.send(body), nil
		}
	}
}

// StallError is a server on which too little moved.
type StallError struct {
	What   string // such as "no byte for"
	Within time.Duration
}

func (e *StallError) Error() string { return e.What + " " + e.Within.String() }

// Timeout says that it is an error of time, as net.Error does.
func (e *StallError) Timeout() bool { return true }
