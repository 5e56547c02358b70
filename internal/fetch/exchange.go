package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// drainLimit bounds what is read of an unwanted answer so that its connection can be used again.
const drainLimit = 16 << 10

// exchange is a request under way: its answer, and the watch that ends it when nothing moves.
// It is the answer's body.
type exchange struct {
	answer *http.Response
	body   io.ReadCloser // of the answer as it came
	client *Client
	url    string          // as asked for, redacted
	parent context.Context // of the caller
	ctx    context.Context // of this request; cancelled by the watch
	cancel context.CancelCauseFunc
	watch  *time.Timer
}

// send makes one request. Its errors are without the URL, which is for the caller to add, redacted.
func (c *Client) send(req *http.Request, do func(*http.Request) (*http.Response, error)) (*exchange, error) {
	x := &exchange{client: c, url: Redact(req.URL.String()), parent: req.Context()}
	x.ctx, x.cancel = context.WithCancelCause(x.parent)
	x.watch = time.AfterFunc(c.options.Stall, func() { x.cancel(stallError(c.options.Stall)) })
	resp, err := do(req.WithContext(x.ctx))
	x.watch.Stop()
	if err != nil {
		err = x.cause(err)
		x.cancel(nil)
		return nil, err
	}
	x.answer, x.body = resp, resp.Body
	return x, nil
}

func (x *exchange) Read(p []byte) (int, error) {
	x.watch.Reset(x.client.options.Stall)
	n, err := x.body.Read(p)
	x.watch.Stop()
	if n > 0 && x.client.options.Progress != nil {
		x.client.options.Progress(x.url, int64(n))
	}
	if err != nil && err != io.EOF {
		err = x.cause(err)
	}
	return n, err
}

// Close ends the exchange, whether or not the body has been read.
func (x *exchange) Close() error {
	x.watch.Stop()
	x.cancel(nil)
	return x.body.Close()
}

// discard ends an exchange whose answer is of no interest but whose connection is.
func (x *exchange) discard() {
	x.watch.Reset(x.client.options.Stall)
	io.CopyN(io.Discard, x.body, drainLimit)
	x.Close()
}

// cause finds out why a request or a read failed: net/http reports
// a cancelled request in many ways, and repeats the URL.
func (x *exchange) cause(err error) error {
	if parent := x.parent.Err(); parent != nil {
		return parent
	}
	var stalled stallError
	if errors.As(context.Cause(x.ctx), &stalled) {
		return stalled
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return err
}
