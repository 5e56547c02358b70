package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// network is a transport without sockets, so that its goroutines can live in a
// bubble with a clock of its own. A test ends only when all of them have ended.
type network func(r *http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

func answer(r *http.Request, status int, body io.ReadCloser, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Request: r, Header: http.Header{}, Body: body, ContentLength: -1}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// trickle is a body that says one thing after each pause, then falls silent until its request ends.
type trickle struct {
	ctx    context.Context
	pauses []time.Duration
	closed bool
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.closed {
		return 0, errors.New("read after close")
	}
	var timer <-chan time.Time
	if len(b.pauses) > 0 {
		timer = time.After(b.pauses[0])
	}
	select {
	case <-timer:
		b.pauses = b.pauses[1:]
		return copy(p, "x"), nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (b *trickle) Close() error { b.closed = true; return nil }

func empty() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Duration
		start := time.Now()
		client := New(Options{HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			times = append(times, time.Since(start))
			return answer(r, 500, empty()), nil
		})}})
		_, err := client.Get(t.Context(), "http://cache/", 10)
		if err == nil || err.Error() != "GET http://cache/: 500 Internal Server Error (5 attempts)" {
			t.Errorf("Get = %v", err)
		}
		if len(times) != 5 {
			t.Fatalf("%d tries", len(times))
		}
		for i, want := range []float64{0.3, 0.6, 1.2, 2.4} {
			pause := (times[i+1] - times[i]).Seconds()
			if pause < 0.75*want || pause > 1.25*want {
				t.Errorf("pause %d lasts %.2f s, want about %.2f s", i+1, pause, want)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name     string
		header   func() string
		tries    int
		from, to time.Duration
	}{
		{"seconds", func() string { return "20" }, 2, 20 * time.Second, 20 * time.Second},
		{"date", func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) }, 2, 19 * time.Second, 20 * time.Second},
		{"bound", func() string { return "120" }, 2, 2 * time.Minute, 2 * time.Minute},
		{"too long", func() string { return "121" }, 1, 0, 0},
		{"past", func() string { return "Sat, 02 May 1998 10:00:00 GMT" }, 2, 0, time.Second},
		{"nonsense", func() string { return "soon" }, 2, 0, time.Second},
		{"negative", func() string { return "-5" }, 2, 0, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				tries := 0
				client := New(Options{HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
					if tries++; tries == 1 {
						return answer(r, 429, empty(), "Retry-After", tt.header()), nil
					}
					return answer(r, 200, empty()), nil
				})}})
				_, err := client.Get(t.Context(), "http://cache/", 10)
				if took := time.Since(start); tries != tt.tries || took < tt.from || took > tt.to {
					t.Errorf("%d tries in %v, want %d in %v to %v", tries, took, tt.tries, tt.from, tt.to)
				}
				if tt.tries == 1 && (err == nil || err.Error() != "GET http://cache/: 429 Too Many Requests: asks to wait for 2m1s") {
					t.Errorf("Get = %v", err)
				}
			})
		})
	}
}

func TestStallBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		client := New(Options{Attempts: 2, Limits: Limits{Stall: 10 * time.Second}, HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}})
		_, err := client.Get(t.Context(), "http://cache/", 10)
		if err == nil || err.Error() != "GET http://cache/: no answer for 10s (2 attempts)" {
			t.Errorf("Get = %v", err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Who was sent everything may take longer to say so than who is asked something: also
// where the request that ends an upload has no body of its own.
func TestStallAtTheEndOfAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for method, patience := range map[string]time.Duration{"PUT": 50 * time.Second, "POST": 10 * time.Second, "HEAD": 10 * time.Second} {
			start := time.Now()
			guarded := Guard(network(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}), Limits{Stall: 10 * time.Second})
			req, err := http.NewRequestWithContext(t.Context(), method, "http://registry/", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = guarded.RoundTrip(req)
			if took := time.Since(start); err == nil || err.Error() != "no answer for "+patience.String() || took != patience {
				t.Errorf("%s: %v after %v, want %v", method, err, took, patience)
			}
		}
	})
}

// A slow body lives as long as enough comes; when it falls silent it is resumed.
func TestStallInTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodies []*trickle
		client := New(Options{Limits: Limits{Stall: 10 * time.Second, Least: 1}, HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			b := &trickle{ctx: r.Context(), pauses: []time.Duration{9 * time.Second, 9 * time.Second}}
			bodies = append(bodies, b)
			switch len(bodies) {
			case 1:
				resp := answer(r, 200, b, "ETag", `"1"`)
				resp.ContentLength = 5
				return resp, nil
			case 2:
				b.pauses = b.pauses[:1]
				return answer(r, 206, b, "ETag", `"1"`, "Content-Range", "bytes 2-4/5"), nil
			}
			return answer(r, 206, b, "ETag", `"1"`, "Content-Range", "bytes 3-4/5"), nil
		})}})
		body, err := client.Open(t.Context(), "http://cache/", 10)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if string(data) != "xxxxx" || err != nil || len(bodies) != 3 {
			t.Errorf("ReadAll = %q, %v after %d requests", data, err, len(bodies))
		}
		body.Close()
		for i, b := range bodies {
			if !b.closed {
				t.Errorf("body %d is open", i+1)
			}
		}
	})
}

// The time that a caller takes between two reads is its own.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := New(Options{Limits: Limits{Stall: 10 * time.Second, Least: 1}, HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			requests++
			resp := answer(r, 200, &trickle{ctx: r.Context(), pauses: make([]time.Duration, 3)})
			resp.ContentLength = 3
			return resp, nil
		})}})
		body, err := client.Open(t.Context(), "http://cache/", 10)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		for range 3 {
			time.Sleep(time.Hour)
			if n, err := body.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("Read = %d, %v", n, err)
			}
		}
		if requests != 1 {
			t.Errorf("%d requests", requests)
		}
	})
}

func TestStallForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := New(Options{Attempts: 3, Limits: Limits{Stall: time.Second}, HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			resp := answer(r, 200, &trickle{ctx: r.Context()})
			resp.ContentLength = 5
			return resp, nil
		})}})
		_, err := client.Get(t.Context(), "http://cache/", 10)
		if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "GET http://cache/: cut off after 0 of 5 bytes: no byte for 1s (3 attempts)" {
			t.Errorf("Get = %v", err)
		}
		var e *Error
		if !errors.As(err, &e) || !e.Temporary() {
			t.Errorf("%v is not temporary", err)
		}
	})
}

// Nothing may be left behind by a body that is closed early, nor by a cancelled pause.
func TestNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests []context.Context
		client := New(Options{HTTP: &http.Client{Transport: network(func(r *http.Request) (*http.Response, error) {
			requests = append(requests, r.Context())
			if r.URL.Path == "/down" {
				return nil, errors.New("connection refused")
			}
			return answer(r, 200, &trickle{ctx: r.Context(), pauses: []time.Duration{0}}), nil
		})}})
		body, err := client.Open(t.Context(), "http://cache/", 10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		body.Close()
		if _, err := body.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read after Close: %v", err)
		}
		if requests[0].Err() == nil {
			t.Error("the request of a closed body goes on")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := client.Open(ctx, "http://cache/down", 10); !errors.Is(err, context.DeadlineExceeded) || len(requests) != 2 {
			t.Errorf("Open = %v after %d requests", err, len(requests)-1)
		}
	})
}

func TestTransport(t *testing.T) {
	tests := []struct {
		name     string
		method   string
		body     io.Reader
		statuses []int // 0: no connection
		want     int   // 0: an error
		tries    int
	}{
		{"well", "GET", nil, []int{200}, 200, 1},
		{"not modified", "GET", nil, []int{304}, 304, 1},
		{"slow down", "GET", nil, []int{429, 200}, 429, 1},
		{"better now", "GET", nil, []int{502, 0, 200}, 200, 3},
		{"never", "GET", nil, []int{502, 502, 503}, 503, 3},
		{"down", "GET", nil, []int{0, 0, 0}, 0, 3},
		{"not implemented", "GET", nil, []int{501, 200}, 501, 1},
		{"with a body", "POST", strings.NewReader("x"), []int{502, 200}, 502, 1},
		{"with a side effect", "DELETE", nil, []int{502, 200}, 502, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				base := network(func(r *http.Request) (*http.Response, error) {
					status := tt.statuses[tries]
					if tries++; status == 0 {
						return nil, errors.New("connection refused")
					}
					return answer(r, status, io.NopCloser(strings.NewReader("text"))), nil
				})
				client := New(Options{Attempts: 3, HTTP: &http.Client{Transport: base}})
				req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://api/", tt.body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Transport().RoundTrip(req)
				if tries != tt.tries {
					t.Errorf("%d tries, want %d", tries, tt.tries)
				}
				if tt.want == 0 {
					if err == nil {
						t.Error("no error")
					}
					return
				}
				if err != nil || resp.StatusCode != tt.want {
					t.Fatalf("RoundTrip = %v, %v", resp, err)
				}
				if text, err := io.ReadAll(resp.Body); string(text) != "text" || err != nil {
					t.Errorf("body %q, %v", text, err)
				}
				resp.Body.Close()
			})
		})
	}
}
