package metrics

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func well() error { return nil }

func TestRoutes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var ready atomic.Bool
	asked := func() error {
		if ready.Load() {
			return nil
		}
		return errors.New("no cycle has succeeded yet")
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Routes(full(newClock()), well, asked)) }()

	ask := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	tests := []struct {
		name, method, path string
		status             int
		body               string // how it begins
	}{
		{"alive", "GET", "/healthz", 200, "ok\n"},
		{"not ready", "GET", "/readyz", 503, "no cycle has succeeded yet\n"},
		{"metrics", "GET", "/metrics", 200, "# HELP factory_"},
		{"without a body", "HEAD", "/healthz", 200, ""},
		{"method", "POST", "/healthz", 405, "Method Not Allowed"},
		{"nothing there", "GET", "/", 404, "404"},
		{"below", "GET", "/healthz/x", 404, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := ask(tt.method, tt.path)
			if status != tt.status || !strings.HasPrefix(body, tt.body) {
				t.Errorf("%s %s = %d %.80q, want %d %q", tt.method, tt.path, status, body, tt.status, tt.body)
			}
		})
	}
	ready.Store(true)
	if status, body := ask("GET", "/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("/readyz after a cycle = %d %q", status, body)
	}

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is open after the end")
	}
}

// pipes is a listener without sockets, so that a bubble of virtual time can hold
// it.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	broken chan error
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{}), make(chan error)} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case err := <-p.broken:
		return nil, err
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// Whoever does not read his answer keeps the program from ending for a few
// seconds at most.
func TestServeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, l, Routes(full(newClock()), well, well)) }()
		conn := l.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the answer is being written
		begun := time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if took := time.Since(begun); took != shutdownTime {
			t.Errorf("the end took %v, want %v", took, shutdownTime)
		}
		if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
			t.Errorf("%d bytes came after the end, %v", n, err)
		}
	})
}

// A client that never finishes its question is dropped.
func TestServeSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, l, Routes(full(newClock()), well, well)) }()
		conn := l.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
			t.Error("half a question was answered")
		}
		if took := time.Since(begun); took > headerTime {
			t.Errorf("dropped after %v, want at most %v", took, headerTime)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// A listener that breaks ends the server, and the connections with it.
func TestServeBrokenListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- Serve(t.Context(), l, http.NotFoundHandler()) }()
		conn := l.dial()
		defer conn.Close()
		synctest.Wait()
		l.broken <- errTooMany
		if err := <-ended; !errors.Is(err, errTooMany) {
			t.Errorf("Serve = %v, want %v", err, errTooMany)
		}
		begun := time.Now()
		if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(begun) != 0 {
			t.Errorf("the connection ended after %v with %v", time.Since(begun), err)
		}
	})
}

var errTooMany = errors.New("too many open files")
