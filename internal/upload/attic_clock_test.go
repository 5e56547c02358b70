package upload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// server is an Attic server without sockets, of which a test writes the answer
// to uploads. Whatever that leaves of the body is closed, as transports do.
func server(put network) network {
	return func(r *http.Request) (*http.Response, error) {
		switch {
		case r.Method == http.MethodPut:
			defer r.Body.Close()
			return put(r)
		case r.Method == http.MethodGet:
			return reply(r, 200, "{}"), nil
		}
		data, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		return reply(r, 200, strings.ReplaceAll(string(data), "store_path_hashes", "missing_paths")), nil
	}
}

// slow is Objects of which each piece takes its time.
type slow struct {
	*shelf
	pause time.Duration
}

func (s slow) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	if err := wait(ctx, s.pause); err != nil {
		return nil, err
	}
	src, err := s.shelf.NAR(ctx, info)
	return &slowly{src, ctx, s.pause}, err
}

type slowly struct {
	io.ReadCloser
	ctx   context.Context
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if err := wait(s.ctx, s.pause); err != nil {
		return 0, err
	}
	return s.ReadCloser.Read(p[:min(len(p), 100)])
}

func wait(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAtticPatience(t *testing.T) {
	const url = "PUT http://attic/_api/v1/upload-path: "
	tests := []struct {
		name   string
		put    func(*http.Request) (*http.Response, error)
		source time.Duration // per piece of the NAR
		want   string        // error behind the name
		took   time.Duration
	}{
		{
			name: "takes nothing",
			put: func(r *http.Request) (*http.Response, error) {
				io.ReadFull(r.Body, make([]byte, 10))
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			want: url + "no byte taken for 1m0s", took: time.Minute,
		},
		{
			name: "takes too little each time",
			put: func(r *http.Request) (*http.Response, error) {
				for {
					switch _, err := r.Body.Read(make([]byte, 100)); err {
					case nil:
					case io.EOF:
						return reply(r, 200, "{}"), nil
					default:
						return nil, err
					}
					if err := wait(r.Context(), 50*time.Second); err != nil {
						return nil, err
					}
				}
			},
			want: url + "only 100 bytes taken in 1m0s", took: time.Minute,
		},
		{
			name: "the NAR is slow to come",
			put: func(r *http.Request) (*http.Response, error) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return nil, err
				}
				return reply(r, 200, "{}"), r.Context().Err()
			},
			source: 10 * time.Minute, took: 110 * time.Minute, // opening it, 9 pieces, and its end
		},
		{
			name: "breaks off while the NAR is slow to come",
			put: func(r *http.Request) (*http.Response, error) {
				go io.Copy(io.Discard, r.Body)
				synctest.Wait()
				r.Body.Close()
				return nil, errors.New("connection reset by peer")
			},
			source: time.Hour, want: url + "connection reset by peer", took: time.Hour, // opening it
		},
		{
			name: "answers late",
			put: func(r *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, r.Body)
				if err := wait(r.Context(), 4*time.Minute); err != nil {
					return nil, err
				}
				return reply(r, 200, "{}"), nil
			},
			took: 4 * time.Minute,
		},
		{
			name: "never answers",
			put: func(r *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			want: url + "no answer for 5m0s", took: 5 * time.Minute,
		},
		{
			name: "never ends its answer",
			put: func(r *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, r.Body)
				resp := reply(r, 200, "")
				resp.Body = io.NopCloser(&slowly{io.NopCloser(strings.NewReader("x")), r.Context(), time.Hour})
				return resp, nil
			},
			took: time.Minute, // and that it was a 200 is good enough
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := newShelf()
				info := shelf.add(t, "object", strings.Repeat("x", 700))
				attic := Attic{Endpoint: "http://attic", Cache: "factory", Token: "eyJ.x.y", Client: client(server(tt.put), fetch.Options{Attempts: 1})}
				start := time.Now()
				report, err := attic.Push(t.Context(), shelf.infos, slow{shelf, tt.source})
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if tt.want == "" && (err != nil || report.Pushed != 1) {
					t.Errorf("Push = %+v, %v", report, err)
				}
				if want := info.Path.Base() + ": " + tt.want; tt.want != "" && (err == nil || err.Error() != want) {
					t.Errorf("Push: %v, want %q", err, want)
				}
				shelf.leaks(t)
			})
		})
	}
}

func TestAtticBackOff(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header string
		pauses []float64 // seconds
	}{
		{"by itself", "", []float64{0.3, 0.6, 1.2, 2.4}},
		{"as asked for", "30", []float64{30, 30, 30, 30}},
		{"in words", "soon", []float64{0.3, 0.6, 1.2, 2.4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times []time.Time
				attic := Attic{Endpoint: "http://attic", Cache: "factory", Token: "eyJ.x.y", Client: client(
					func(r *http.Request) (*http.Response, error) {
						times = append(times, time.Now())
						resp := reply(r, 503, "")
						resp.Header.Set("Retry-After", tt.header)
						return resp, nil
					}, fetch.Options{})}
				_, err := attic.Push(t.Context(), nil, nil)
				if want := "GET http://attic/_api/v1/cache-config/factory: 503 Service Unavailable (5 attempts)"; err == nil || err.Error() != want {
					t.Errorf("Push: %v, want %q", err, want)
				}
				if len(times) != 5 {
					t.Fatalf("%d tries", len(times))
				}
				for i, want := range tt.pauses {
					if pause := times[i+1].Sub(times[i]).Seconds(); pause < 0.75*want || pause > 1.25*want {
						t.Errorf("pause %d lasts %.2f s, want about %.1f s", i+1, pause, want)
					}
				}
			})
		})
	}
}

func TestAtticCancelledWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		attic := Attic{Endpoint: "http://attic", Cache: "factory", Token: "eyJ.x.y", Client: client(
			func(r *http.Request) (*http.Response, error) { return reply(r, 503, ""), nil }, fetch.Options{Delay: time.Hour})}
		start := time.Now()
		if _, err := attic.Push(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Push: %v after %v", err, time.Since(start))
		}
	})
}
