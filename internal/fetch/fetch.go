// Package fetch turns a URL into bytes: a small document, or a stream that
// survives cut connections; and brings a body to a server (Send). It is the one
// place where our own requests are repeated, timed out and bounded; its callers
// never retry.
//
// The bytes of a stream are those of one entity, from its first byte to its
// last, or the stream ends with an error. Whether it is the right entity is
// for the caller to check, by a hash.
package fetch

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"time"
)

// Options of a Client. The zero value is sensible.
type Options struct {
	HTTP      *http.Client  // nil: a client of our own, with the proxy of the environment
	UserAgent string        // "": "nixpkgs-factory"
	Attempts  int           // tries of a request, or of a stream without 1 MiB of progress in between; 0: 5
	Delay     time.Duration // before the second try, then doubled each time; 0: 300 ms
	Limits                  // of each request; Bound has no use here, calls have bounds of their own

	// Progress, if not nil, is told of every piece of a body that arrives over
	// the network: the redacted URL that was asked for and a number of bytes.
	// Calls may come from several goroutines at once.
	Progress func(url string, n int64)
}

// Client fetches from http, https and file URLs. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
}

// idlePerHost is how many kept-alive connections wait for the next request.
// A closure is asked for with some fifty requests at once, all to one host.
const idlePerHost = 64

// New makes a client.
func New(options Options) *Client {
	if options.UserAgent == "" {
		options.UserAgent = "nixpkgs-factory"
	}
	if options.Attempts <= 0 {
		options.Attempts = 5
	}
	if options.Delay <= 0 {
		options.Delay = 300 * time.Millisecond
	}
	client := http.Client{}
	if options.HTTP != nil {
		client = *options.HTTP
	}
	client.Transport = Guard(client.Transport, options.Limits)
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	return &Client{options, &client}
}

// CloseIdleConnections closes what is kept open for further requests.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// checkRedirect is the rule of net/http, with an error that can be told from a broken connection.
func checkRedirect(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errRedirects
	}
	return nil
}

// Get returns a document of at most max bytes, freed of any Content-Encoding.
func (c *Client) Get(ctx context.Context, url string, max int64) ([]byte, error) {
	body, err := c.open(ctx, url, max, acceptedEncodings)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := readDecoded(body, body.Encoding(), body.max)
	switch {
	case body.err != nil && body.err != io.EOF: // whatever a decoder made of it
		return nil, body.err
	case err != nil:
		return nil, body.fail(err)
	}
	return data, nil
}

// Open returns the body of a URL as the server stores it: a Content-Encoding
// is not undone (see Body.Encoding). A body of more than max bytes is an
// error, at once if its length is announced.
//
// When the connection breaks, Read asks for what is missing and goes on.
func (c *Client) Open(ctx context.Context, url string, max int64) (*Body, error) {
	return c.open(ctx, url, max, "identity")
}

func (c *Client) open(ctx context.Context, rawURL string, max int64, accept string) (*Body, error) {
	// Half of the range is enough for every body, and one more byte never overflows.
	max = min(max, math.MaxInt64/2)
	b := &Body{client: c, ctx: ctx, url: rawURL, accept: accept, max: max, size: -1}
	b.patience.client = c
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, b.fail(errBadURL)
	}
	switch u.Scheme {
	case "http", "https":
		err = b.connect(nil)
	case "file":
		err = b.openFile(u)
	default:
		err = b.fail(fmt.Errorf("%w %q (want http, https or file)", errScheme, u.Scheme))
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}
