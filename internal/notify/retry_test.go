package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// network is a transport without sockets, so that its goroutines can live in a
// bubble of virtual time.
type network func(r *http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

func answer(r *http.Request, status int, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Request: r, Header: http.Header{}, Body: http.NoBody}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// silent never answers.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func on(n network) fetch.Options { return fetch.Options{HTTP: &http.Client{Transport: n}} }

const url1 = "https://hooks.example.com/S3CRET"

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRetries(t *testing.T) {
	const place = "POST https://hooks.example.com: "
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name     string
		answers  []int // the last one again and again; 0: the connection breaks
		header   func() string
		tries    int
		from, to time.Duration
		want     string // error
	}{
		{"at once", []int{200}, nil, 1, 0, 0, ""},
		{"accepted", []int{202}, nil, 1, 0, 0, ""},
		{"the third time", []int{500, 0, 200}, nil, 3, 2250 * time.Millisecond, 3750 * time.Millisecond, ""},
		{"too early", []int{425, 408, 200}, nil, 3, 2250 * time.Millisecond, 3750 * time.Millisecond, ""},
		{"never", []int{502}, nil, 4, 5250 * time.Millisecond, 8750 * time.Millisecond, "502 Bad Gateway (4 attempts)"},
		{"not implemented", []int{501}, nil, 1, 0, 0, "501 Not Implemented"},
		{"forbidden", []int{403}, nil, 1, 0, 0, "403 Forbidden"},
		{"slow down for seconds", []int{429, 200}, func() string { return "30" }, 2, 30 * time.Second, 30 * time.Second, ""},
		{"slow down until a date", []int{429, 200}, func() string { return in(30 * time.Second) }, 2, 29 * time.Second, 30 * time.Second, ""},
		{"slow down until yesterday", []int{429, 200}, func() string { return in(-24 * time.Hour) }, 2, 750 * time.Millisecond, 1250 * time.Millisecond, ""},
		{"slow down for some time", []int{429, 200}, func() string { return "soon" }, 2, 750 * time.Millisecond, 1250 * time.Millisecond, ""},
		{"slow down for an hour", []int{429}, func() string { return "3600" }, 1, 0, 0, "429 Too Many Requests: asks to wait for 1h0m0s"},
		{"slow down again and again", []int{429}, func() string { return "50" }, 3, 100 * time.Second, 100 * time.Second, "429 Too Many Requests: asks to wait for 50s (3 attempts)"},
		{"for ever", []int{503}, func() string { return "99999999999999999999" }, 4, 5250 * time.Millisecond, 8750 * time.Millisecond, "503 Service Unavailable (4 attempts)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies []string
				w := newHooks(t, on(func(r *http.Request) (*http.Response, error) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					bodies = append(bodies, string(body))
					status := tt.answers[min(len(bodies), len(tt.answers))-1]
					if status == 0 {
						return nil, io.ErrUnexpectedEOF
					}
					if tt.header == nil {
						return answer(r, status), nil
					}
					return answer(r, status, "Retry-After", tt.header()), nil
				}), Hook{URL: url1})
				begun := time.Now()
				err := w.Send(t.Context(), published)
				took := time.Since(begun)
				if len(bodies) != tt.tries || took < tt.from || took > tt.to {
					t.Errorf("%d tries in %v, want %d in %v to %v", len(bodies), took, tt.tries, tt.from, tt.to)
				}
				want := tt.want
				if want != "" {
					want = place + want
				}
				if text(err) != want {
					t.Errorf("Send = %v, want %s", err, want)
				}
				for i, body := range bodies {
					if body != bodies[0] || !strings.HasPrefix(body, `{"event":"published"`) {
						t.Errorf("body %d: %q", i, body)
					}
				}
			})
		})
	}
}

// A webhook that never answers costs the same time for one event and for many,
// and another webhook gets them at once.
func TestSilentWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good []time.Duration
		tries := 0
		begun := time.Now()
		w := newHooks(t, on(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "good.example.com" {
				good = append(good, time.Since(begun))
				return answer(r, 200), nil
			}
			tries++
			return silent(r)
		}), Hook{URL: url1}, Hook{URL: "https://good.example.com"})
		err := w.Send(t.Context(), published, failed, published, failed, published)
		const want = "POST https://hooks.example.com: no answer for 10s (4 attempts); 4 more not sent"
		if text(err) != want || tries != 4 {
			t.Errorf("Send = %v after %d tries, want %s", err, tries, want)
		}
		if took := time.Since(begun); took < 45*time.Second || took > 49*time.Second {
			t.Errorf("took %v", took)
		}
		if diff := cmp.Diff(make([]time.Duration, 5), good); diff != "" {
			t.Errorf("the other webhook (-want +got):\n%s", diff)
		}
	})
}

// A webhook that always answers at the last moment.
func TestSlowWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		w := newHooks(t, on(func(r *http.Request) (*http.Response, error) {
			tries++
			time.Sleep(9 * time.Second)
			return answer(r, 200), nil
		}), Hook{URL: url1})
		begun := time.Now()
		err := w.Send(t.Context(), make([]Event, 20)...)
		const want = "POST https://hooks.example.com: took more than 2m0s; 6 more not sent"
		if text(err) != want || tries != 14 {
			t.Errorf("Send = %v after %d tries, want %s", err, tries, want)
		}
		if took := time.Since(begun); took != 126*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// An event that is refused for what it is does not stand in the way of others.
func TestRefusedEvent(t *testing.T) {
	tests := []struct {
		status, tries int
		want          string
	}{
		{400, 3, "400 Bad Request"},
		{413, 3, "413 Request Entity Too Large"},
		{422, 3, "422 Unprocessable Entity"},
		{404, 1, "404 Not Found; 2 more not sent"},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			tries := 0
			w := newHooks(t, on(func(r *http.Request) (*http.Response, error) {
				if tries++; tries == 1 {
					return answer(r, tt.status), nil
				}
				return answer(r, 200), nil
			}), Hook{Name: "A", URL: url1})
			err := w.Send(t.Context(), published, published, published)
			if want := "A: POST https://hooks.example.com: " + tt.want; text(err) != want || tries != tt.tries {
				t.Errorf("Send = %v after %d tries, want %s after %d", err, tries, want, tt.tries)
			}
			var e *Error
			if !errors.As(err, &e) || e.Err.Status != tt.status {
				t.Errorf("%v is not the Error of status %d", err, tt.status)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	tests := []struct {
		name     string
		after    time.Duration
		attempts int
		serve    network
	}{
		{"before", 0, 4, silent},
		{"during a request", 5 * time.Second, 4, silent},
		{"during the last request", 5 * time.Second, 1, silent},
		{"during a pause", 5 * time.Second, 4, func(r *http.Request) (*http.Response, error) {
			return answer(r, 503, "Retry-After", "60"), nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.after == 0 {
					cancel()
				} else {
					time.AfterFunc(tt.after, cancel)
				}
				begun := time.Now()
				o := on(tt.serve)
				o.Attempts = tt.attempts
				err := newHooks(t, o, Hook{URL: url1}).Send(ctx, published, failed)
				if !errors.Is(err, context.Canceled) || strings.Contains(text(err), "S3CRET") || !strings.HasSuffix(text(err), "1 more not sent") {
					t.Errorf("Send = %v, want context canceled", err)
				}
				if took := time.Since(begun); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// endless is the body of an answer that goes on for ever.
type endless struct {
	read, closed bool
}

func (e *endless) Read(p []byte) (int, error) { e.read = true; return len(p), nil }
func (e *endless) Close() error               { e.closed = true; return nil }

func TestAnswerIsNotRead(t *testing.T) {
	body := &endless{}
	w := newHooks(t, on(func(r *http.Request) (*http.Response, error) {
		resp := answer(r, 200)
		resp.Body = body
		return resp, nil
	}), Hook{URL: url1})
	if err := w.Send(t.Context(), published); err != nil {
		t.Fatal(err)
	}
	if body.read || !body.closed {
		t.Errorf("read %v, closed %v", body.read, body.closed)
	}
}
