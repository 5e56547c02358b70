package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestSend(t *testing.T) {
	answers := func(status int, text string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	tests := []struct {
		name   string
		server http.HandlerFunc
		change func(*Request)
		want   string // error; HOST is the server
		tries  int32
	}{
		{"taken", answers(201, "ok"), nil, "", 1},
		{"temporary", answers(503, ""), nil, "PUT http://HOST/a/S3CRET: 503 Service Unavailable (3 attempts)", 3},
		{"fewer attempts", answers(503, ""), func(r *Request) { r.Attempts = 1 }, "PUT http://HOST/a/S3CRET: 503 Service Unavailable", 1},
		{"too late", answers(503, ""), func(r *Request) { r.Until = time.Now() }, "PUT http://HOST/a/S3CRET: 503 Service Unavailable", 1},
		{"too late for what is asked", answers(503, "", "Retry-After", "60"), func(r *Request) { r.Until = time.Now().Add(time.Second) },
			"PUT http://HOST/a/S3CRET: 503 Service Unavailable: asks to wait for 1m0s", 1},
		{"refused", answers(400, "no"), nil, "PUT http://HOST/a/S3CRET: 400 Bad Request", 1},
		{"refused with a reason", answers(400, "no"), func(r *Request) {
			r.Refused = func(answer *http.Response) error {
				text, err := io.ReadAll(answer.Body)
				return errors.Join(errors.New(string(text)), err)
			}
		}, "PUT http://HOST/a/S3CRET: 400 Bad Request: no", 1},
		{"redirect", answers(307, "", "Location", "/b"), nil, "PUT http://HOST/a/S3CRET: 307 Temporary Redirect", 1},
		{"secret", answers(404, ""), func(r *Request) { r.Secret = true }, "PUT http://HOST: 404 Not Found", 1},
		{"long answer", answers(200, "12345"), func(r *Request) { r.Max = 4 }, "PUT http://HOST/a/S3CRET: body is too large (limit 4 bytes)", 1},
		{"body that cannot be opened", answers(200, ""), func(r *Request) {
			r.Body = func(context.Context) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
		}, "PUT http://HOST/a/S3CRET: unexpected EOF", 0},
		{"body that breaks off", answers(200, ""), func(r *Request) {
			r.Body = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("x"), broken{})), nil
			}
		}, "PUT http://HOST/a/S3CRET: disk is gone", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				tt.server(w, r)
			}))
			defer s.Close()
			r := Request{Method: http.MethodPut, URL: s.URL + "/a/S3CRET", Size: 5, Body: Bytes([]byte("12345"))}
			if tt.change != nil {
				tt.change(&r)
			}
			_, err := New(Options{Attempts: 3, Delay: time.Nanosecond}).Send(t.Context(), r)
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), strings.TrimPrefix(s.URL, "http://"), "HOST")
			}
			if got != tt.want || tt.tries >= 0 && tries.Load() != tt.tries {
				t.Errorf("Send: %q in %d tries, want %q in %d", got, tries.Load(), tt.want, tt.tries)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("disk is gone") }

// again is a transport that finds its connection broken and asks for the body once more.
type again struct{ t *testing.T }

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	io.ReadFull(r.Body, make([]byte, 2))
	second, err := r.GetBody()
	if err != nil {
		a.t.Fatal(err)
	}
	r.Body.Close()
	data, err := io.ReadAll(second)
	if err != nil || r.ContentLength != int64(len(data)) {
		a.t.Errorf("the second body is %q of %d bytes, %v", data, r.ContentLength, err)
	}
	second.Close()
	return &http.Response{StatusCode: 200, Request: r, Body: io.NopCloser(strings.NewReader(string(data)))}, nil
}

func TestSendBodyTwice(t *testing.T) {
	c := New(Options{HTTP: &http.Client{Transport: again{t}}})
	r := Request{Method: http.MethodPost, URL: "http://host", Size: 5, Body: Bytes([]byte("12345")), Max: 5}
	if data, err := c.Send(t.Context(), r); err != nil || string(data) != "12345" {
		t.Errorf("Send = %q, %v", data, err)
	}
}

// An answer that got lost is asked for: what was taken is not sent again.
func TestSendLost(t *testing.T) {
	denied := errors.New("not let in any more")
	for _, tt := range []struct {
		name  string
		taken bool
		err   error
		tries int32
		want  string // end of the error
	}{
		{"taken", true, nil, 1, ""},
		{"not taken", false, nil, 2, "EOF (2 attempts)"},
		{"denied", false, denied, 1, "not let in any more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				panic(http.ErrAbortHandler)
			}))
			defer s.Close()
			r := Request{Method: http.MethodPut, URL: s.URL, Lost: func(context.Context) (bool, error) { return tt.taken, tt.err }}
			_, err := New(Options{Attempts: 2, Delay: time.Nanosecond}).Send(t.Context(), r)
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) || tries.Load() != tt.tries {
				t.Errorf("Send: %v in %d tries, want %q in %d", err, tries.Load(), tt.want, tt.tries)
			}
		})
	}
}
