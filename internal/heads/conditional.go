package heads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	maxAnswer = 4 << 20   // bytes that are read of an answer
	maxStored = 256 << 10 // bytes of an answer that is worth remembering; that of a branch has some 6 KiB
)

var (
	errTooLong = errors.New("the answer is too long")
	errBroken  = errors.New("the answer broke off")
)

// transport adds the token, asks conditionally and puts remembered answers
// in the place of "not modified", so that the library above sees only whole answers.
type transport struct {
	base         http.RoundTripper
	scheme, host string // of the API
	token        string
	etags        ETags

	mu   sync.Mutex
	rate Rate
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	// A redirect may lead anywhere.
	ours := req.URL.Scheme == t.scheme && req.URL.Host == t.host
	if ours && t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	var key, etag string
	var stored []byte
	var known bool
	if ours && t.etags != nil && req.Method == http.MethodGet {
		key = t.key(req)
		etag, stored, known = t.etags.ETag(key)
		// What is no longer readable would be "not modified" for ever.
		if known = known && json.Valid(stored); known {
			req.Header.Set("If-None-Match", etag)
		}
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	t.noteRate(resp.Header)
	body, err := readAnswer(resp)
	mark(resp, body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNotModified && known:
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		resp.Header.Set("Content-Type", "application/json; charset=utf-8")
		body = stored
	case resp.StatusCode == http.StatusNotModified:
		return nil, errors.New("304 Not Modified to an unconditional request")
	case resp.StatusCode == http.StatusOK && key != "":
		if err := t.remember(key, resp.Header.Get("ETag"), body); err != nil {
			return nil, err
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// key holds all that decides which answer the server gives. Neither a URL nor a bool contains spaces.
func (t *transport) key(req *http.Request) string {
	return fmt.Sprintf("%s authenticated=%t accept=%s", req.URL, t.token != "", req.Header.Get("Accept"))
}

func (t *transport) remember(key, etag string, body []byte) error {
	if etag == "" || len(body) > maxStored || !json.Valid(body) {
		return nil
	}
	if err := t.etags.SetETag(key, etag, body); err != nil {
		return fmt.Errorf("remember the answer: %w", err)
	}
	return nil
}

func readAnswer(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w (limit %d bytes)", errTooLong, maxAnswer)
	}
	return body, nil
}
