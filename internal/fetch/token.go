package fetch

import (
	"net/http"
	"net/url"
)

// WithToken returns a client that shows a token to one host, by scheme, name
// and port, and to nobody that a redirect leads to. A host that does not take
// the token is asked without it: what is public stays so.
func (c *Client) WithToken(token string, host *url.URL) *Client {
	client := *c.http
	client.Transport = &bearer{c.http.Transport, token, host.Scheme, host.Host}
	return &Client{c.options, &client}
}

type bearer struct {
	inner        http.RoundTripper
	token        string
	scheme, host string
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	// A client hands on the headers of a request to other ports of the same name, too.
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	if req.URL.Scheme != b.scheme || req.URL.Host != b.host {
		return b.inner.RoundTrip(req)
	}
	shown := req.Clone(req.Context())
	shown.Header.Set("Authorization", "Bearer "+b.token)
	resp, err := b.inner.RoundTrip(shown)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		if without, err := b.inner.RoundTrip(req); err == nil {
			if without.StatusCode < http.StatusBadRequest {
				resp.Body.Close()
				return without, nil
			}
			without.Body.Close()
		}
	}
	return resp, nil
}
