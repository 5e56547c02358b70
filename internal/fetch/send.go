package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Request is one that brings something to a server, or one of which a refusal
// says more than its status.
type Request struct {
	Method string
	URL    string // http or https
	Secret bool   // whoever has the URL may use it: errors show its scheme and host only
	Header http.Header

	Size int64                                            // bytes of the body
	Body func(ctx context.Context) (io.ReadCloser, error) // opens the body, for each try again; nil: there is none

	Max      int64     // bytes of a good answer; 0: it is not read
	Attempts int       // 0: those of the client
	Until    time.Time // no try begins after it; zero: at any time

	// Refused, if not nil, returns what an answer that is not a good one says
	// besides its status, nil for nothing. It may read the body.
	Refused func(answer *http.Response) error

	// Lost, if not nil, is called when there was no answer to a request that may
	// have been taken all the same. It asks whether it was; an error ends the tries.
	Lost func(ctx context.Context) (taken bool, err error)
}

// Bytes returns what opens a body that is in memory.
func Bytes(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// Send sends a request as often as it takes and makes sense, and returns the
// answer's body. Any status from 200 to 299 is a good one; redirects are refusals,
// for a body would have to be sent again, and a token would be shown to others.
// Errors, apart from those of Lost, are of type *Error.
func (c *Client) Send(ctx context.Context, r Request) ([]byte, error) {
	patience := patience{client: c, attempts: r.Attempts, until: r.Until}
	for {
		data, cause := c.try(ctx, r)
		if cause == nil {
			return data, nil
		}
		if r.Lost != nil && ctx.Err() == nil && unanswered(cause) {
			if taken, err := r.Lost(ctx); taken || err != nil {
				return nil, err
			}
		}
		pause, again := patience.next(cause)
		if ended := ctx.Err(); ended != nil {
			return nil, r.fail(ended, &patience)
		}
		if !again {
			return nil, r.fail(cause, &patience)
		}
		if ended := Sleep(ctx, pause); ended != nil {
			return nil, r.fail(ended, &patience)
		}
	}
}

// unanswered tells whether a request may have arrived though nothing says so.
func unanswered(cause error) bool {
	var answer *statusError
	return !errors.As(cause, &answer) && temporary(cause)
}

// try sends a request once.
func (c *Client) try(ctx context.Context, r Request) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, nil)
	if err != nil {
		return nil, errBadURL
	}
	maps.Copy(req.Header, r.Header)
	req.Header.Set("User-Agent", c.options.UserAgent)
	bodies := outgoing{ctx: ctx, open: r.Body}
	defer bodies.close()
	if r.Body != nil && r.Size > 0 {
		req.ContentLength, req.GetBody = r.Size, bodies.next
		if req.Body, err = bodies.next(); err != nil {
			return nil, err
		}
	}
	direct := *c.http
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	x, err := c.send(req, direct.Do)
	if err != nil {
		if broken := bodies.broken(); broken != nil && ctx.Err() == nil {
			return nil, broken
		}
		return nil, err
	}
	defer x.Close()
	return r.read(x.answer)
}

// read returns the body of a good answer, and of another one the error that it is.
func (r Request) read(answer *http.Response) ([]byte, error) {
	if answer.StatusCode/100 != 2 {
		refusal := answered(answer)
		if r.Refused != nil {
			refusal.said = r.Refused(answer)
		}
		return nil, refusal
	}
	if r.Max == 0 {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, r.Max+1))
	switch {
	case int64(len(data)) > r.Max:
		return nil, tooLarge(r.Max)
	case err != nil && r.Method != http.MethodPut: // what was put is there, whatever the rest of the answer
		return nil, err
	}
	return data, nil
}

// fail makes the error to report of what went wrong in the end.
func (r Request) fail(cause error, p *patience) *Error {
	e := &Error{Method: r.Method, URL: Redact(r.URL), Attempts: p.failures, Err: said.Error(cause)}
	if r.Secret {
		e.URL, e.Err = place(r.URL), harmless(cause)
	}
	if answer, ok := cause.(*statusError); ok {
		e.Status, e.Err = answer.status, answer.said
	}
	switch {
	case p.asked > 0 && e.Err != nil:
		e.Err = fmt.Errorf("%w: asks to wait for %v", e.Err, p.asked)
	case p.asked > 0:
		e.Err = fmt.Errorf("asks to wait for %v", p.asked)
	}
	return e
}
