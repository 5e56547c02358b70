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

// guarded sends one request through a guard to a network without sockets.
func guarded(t *testing.T, l Limits, n network, method string, body io.Reader) (string, time.Duration, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://host/", body)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	resp, err := Guard(n, l).RoundTrip(req)
	if err != nil {
		return "", time.Since(start), err
	}
	defer resp.Body.Close()
	var data strings.Builder
	for buf := make([]byte, 128<<10); err == nil; {
		var n int
		n, err = resp.Body.Read(buf)
		data.Write(buf[:n])
	}
	if err == io.EOF {
		err = nil
	}
	return data.String(), time.Since(start), err
}

// pieces is a body that says so many bytes after each pause, n times.
type pieces struct {
	ctx   context.Context
	pause time.Duration
	size  int
	n     int
}

func (b *pieces) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, io.EOF
	}
	b.n--
	select {
	case <-time.After(b.pause):
		return copy(p, strings.Repeat("x", b.size)), nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (b *pieces) Close() error { return nil }

// A byte in 59 seconds is a stall, half a KiB a second is a slow line.
func TestPaceOfAnswers(t *testing.T) {
	tests := []struct {
		name  string
		pause time.Duration
		size  int
		n     int
		want  string
		took  time.Duration
	}{
		{"silent", time.Hour, 1, 1, "no byte for 1m0s", time.Minute},
		{"drips", 59 * time.Second, 1, 100, "only 1 byte in 1m0s", time.Minute},
		{"too slow", 1100 * time.Millisecond, 500, 1000, "only 27000 bytes in 1m0s", time.Minute},
		{"slow", time.Second, 1024, 1000, "", 1000 * time.Second},
		{"in lumps", 50 * time.Second, 32 << 10, 100, "", 5000 * time.Second},
		{"a little, and its end", 20 * time.Second, 10, 2, "", 40 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, took, err := guarded(t, Limits{}, func(r *http.Request) (*http.Response, error) {
					return answer(r, 200, &pieces{r.Context(), tt.pause, tt.size, tt.n}), nil
				}, "GET", nil)
				if took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				var stalled *StallError
				if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &stalled) || err.Error() != tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// takes reads the body of a request in pieces with pauses, as a server does.
func takes(r *http.Request, pause time.Duration, size int) error {
	for {
		_, err := r.Body.Read(make([]byte, size))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

func TestPaceOfRequests(t *testing.T) {
	tests := []struct {
		name   string
		pause  time.Duration // between what the server takes
		size   int
		source time.Duration // that each piece of the body takes to come
		answer time.Duration
		want   string
		took   time.Duration
	}{
		{"takes nothing", time.Hour, 10, 0, 0, "no byte taken for 1m0s", time.Minute},
		{"takes a byte in 59 seconds", 59 * time.Second, 1, 0, 0, "only 1 byte taken in 1m0s", time.Minute},
		{"takes a KiB a second", time.Second, 1 << 10, 0, 0, "", 100 * time.Second},
		{"the body is slow to come", 0, 1 << 10, time.Hour, 0, "", 101 * time.Hour},
		{"answers late", 0, 10 << 10, 0, 299 * time.Second, "", 299 * time.Second},
		{"never answers", 0, 10 << 10, 0, time.Hour, "no answer for 5m0s", 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := io.Reader(strings.NewReader(strings.Repeat("x", 100<<10)))
				if tt.source > 0 {
					body = &late{body, tt.source}
				}
				_, took, err := guarded(t, Limits{}, func(r *http.Request) (*http.Response, error) {
					if err := takes(r, tt.pause, tt.size); err != nil {
						return nil, err
					}
					select {
					case <-time.After(tt.answer):
						return answer(r, 200, empty()), nil
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				}, "PUT", body)
				if took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// late is a source that thinks before each piece, and before its end.
type late struct {
	io.Reader
	pause time.Duration
}

func (l *late) Read(p []byte) (int, error) {
	time.Sleep(l.pause)
	return l.Reader.Read(p)
}

// A transport may send the body again, on another connection.
func TestBodySentAgainIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, took, err := guarded(t, Limits{}, func(r *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, r.Body)
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r.Body = again
			return nil, takes(r, time.Hour, 10)
		}, "PUT", strings.NewReader("some text that is longer than ten bytes"))
		if took != time.Minute || err == nil || err.Error() != "no byte taken for 1m0s" {
			t.Errorf("%v after %v", err, took)
		}
	})
}

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) { return len(p), nil }

func TestBound(t *testing.T) {
	documents := func(r *http.Request) int64 {
		if r.URL.Path == "/" {
			return 1000
		}
		return -1
	}
	tests := []struct {
		name   string
		status int
		length int64
		body   io.Reader
		got    int
		fails  bool
	}{
		{"fits", 200, -1, strings.NewReader(strings.Repeat("x", 1000)), 1000, false},
		{"has no end", 200, -1, endlessly{}, 1000, true},
		{"announces too much", 200, 1001, endlessly{}, 0, true},
		{"refusal without end", 404, -1, endlessly{}, 64 << 10, false},
		{"redirect without end", 302, -1, endlessly{}, 64 << 10, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, _, err := guarded(t, Limits{Bound: documents}, func(r *http.Request) (*http.Response, error) {
				resp := answer(r, tt.status, io.NopCloser(tt.body))
				resp.ContentLength = tt.length
				return resp, nil
			}, "GET", nil)
			if len(data) != tt.got || errors.Is(err, ErrTooLarge) != tt.fails || (err != nil) != tt.fails {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
}

// The bound is that of what was asked for, wherever the answer comes from in the end.
func TestBoundFollowsTheFirstRequest(t *testing.T) {
	var asked []string
	client := http.Client{Transport: Guard(network(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "registry" {
			return answer(r, 302, empty(), "Location", "http://storage/x"), nil
		}
		return answer(r, 200, empty()), nil
	}), Limits{Bound: func(r *http.Request) int64 { asked = append(asked, r.URL.String()); return -1 }})}
	if _, err := client.Get("http://registry/blob"); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != "http://registry/blob" {
		t.Errorf("asked about %q", asked)
	}
}

// Clients of libraries may have a rule for redirects that knows no end.
func TestRedirectsEndBelowEveryClient(t *testing.T) {
	requests := 0
	client := http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
		Transport: Guard(network(func(r *http.Request) (*http.Response, error) {
			if requests++; requests > 100 {
				return answer(r, 200, empty()), nil
			}
			return answer(r, 302, empty(), "Location", "/again"), nil
		}), Limits{}),
	}
	_, err := client.Get("http://registry/")
	if !errors.Is(err, errRedirects) || requests != 10 {
		t.Errorf("%v after %d requests", err, requests)
	}
}

func TestGuardIsDeafAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen context.Context
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://host/", nil)
		resp, err := Guard(network(func(r *http.Request) (*http.Response, error) {
			seen = r.Context()
			return answer(r, 200, io.NopCloser(strings.NewReader("text"))), nil
		}), Limits{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // an answer that nobody reads is no stall
		if data, err := io.ReadAll(resp.Body); string(data) != "text" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		resp.Body.Close()
		if seen.Err() == nil {
			t.Error("the request goes on")
		}
	})
}
