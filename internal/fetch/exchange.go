package fetch

import (
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// drainLimit bounds what is read of an unwanted answer so that its connection can be used again.
const drainLimit = 16 << 10

// exchange is a request that was answered. It is the answer's body.
type exchange struct {
	answer *http.Response
	body   io.ReadCloser // of the answer as it came
	client *Client
	url    string // as asked for, redacted
}

// send makes one request. Its errors are without the URL, which is for the caller to add, redacted.
func (c *Client) send(req *http.Request, do func(*http.Request) (*http.Response, error)) (*exchange, error) {
	resp, err := do(req)
	if err != nil {
		if parent := req.Context().Err(); parent != nil {
			return nil, parent
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, said.Error(err)
	}
	return &exchange{answer: resp, body: resp.Body, client: c, url: Redact(req.URL.String())}, nil
}

func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	if n > 0 && x.client.options.Progress != nil {
		x.client.options.Progress(x.url, int64(n))
	}
	return n, err
}

// Close ends the exchange, whether or not the body has been read.
func (x *exchange) Close() error { return x.body.Close() }

// discard ends an exchange whose answer is of no interest but whose connection is.
func (x *exchange) discard() {
	io.CopyN(io.Discard, x.body, drainLimit)
	x.Close()
}
