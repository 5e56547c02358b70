package fetch

import "net/http"

// Transport returns a transport for libraries that bring an HTTP client of their own.
// It repeats and times out requests without a body as Open does, but does not resume a body.
// Answers that ask to slow down (403, 429) are for the library to read.
func (c *Client) Transport() http.RoundTripper { return transport{c} }

type transport struct{ client *Client }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.client.http.Transport
	if req.Body != nil && req.Body != http.NoBody || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return base.RoundTrip(req)
	}
	patience := patience{client: t.client}
	for {
		x, cause := t.client.send(req, base.RoundTrip)
		replied := cause == nil
		if replied {
			x.answer.Body = x
			if x.answer.StatusCode < http.StatusInternalServerError {
				return x.answer, nil
			}
			cause = answered(x.answer)
		}
		pause, again := patience.next(cause)
		switch {
		case again && replied:
			x.discard()
		case replied:
			return x.answer, nil
		case !again:
			return nil, cause
		}
		if err := Sleep(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}
