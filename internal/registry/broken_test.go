package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// A stream of HTTP/2 that the other side ends is like a connection that breaks off.
func TestBrokenStreams(t *testing.T) {
	inner := fake.New(fake.Logger(log.New(io.Discard, "", 0)))
	for _, what := range []string{"HEAD /manifests/", "POST /blobs/", "PATCH /blobs/", "PUT /blobs/", "PUT /manifests/", "GET /v2/"} {
		method, part, _ := strings.Cut(what, " ")
		var broken atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				t.Errorf("%s by %s", r.Method, r.Proto)
			}
			if r.Method == method && strings.Contains(r.URL.Path, part) && broken.Add(1) <= 2 {
				io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
			inner.ServeHTTP(w, r)
		}))
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		r := openAt(t, server.Listener.Addr().String()+"/org/a", Options{Transport: fetch.Guard(server.Client().Transport, fetch.Limits{}), Whole: -1})
		index := randomIndex(t)
		if err := errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if broken.Load() < 3 {
			t.Errorf("%s: asked %d times", what, broken.Load())
		}
		server.Close()
	}
}

func TestPassing(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		err           error
		before, after bool // the registry has answered
	}{
		{io.ErrUnexpectedEOF, true, true},
		{dial(syscall.ECONNREFUSED), false, true},
		{dial(syscall.ENETUNREACH), false, true},
		{dial(&net.DNSError{Name: "r", IsTemporary: true}), true, true},
		{dial(&net.DNSError{Name: "r", IsNotFound: true}), false, false},
		{errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`), true, true},
		{errors.New("http2: client connection lost"), true, true},
		{errors.New("http2: Transport: cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY] after Request.Body was written"), true, true},
		{errors.New("stream error: stream ID 7; INTERNAL_ERROR; received from peer"), true, true},
		{errors.New("tls: failed to verify certificate"), false, false},
		{fmt.Errorf("it: %w", context.Canceled), false, false},
	} {
		h := newHost(name.MustParseReference("r.example.org/a").Context().Registry, Options{})
		before := h.passing(tt.err)
		h.scheme = "https"
		if after := h.passing(tt.err); before != tt.before || after != tt.after {
			t.Errorf("%v: %t, and %t once there was an answer; want %t and %t", tt.err, before, after, tt.before, tt.after)
		}
	}
}

// An upload goes on at the registry itself, with a login, whether or not its answers
// and redirects name the usual port.
func TestUsualPort(t *testing.T) {
	odd := &registrytest.Odd{Tokens: &registrytest.Tokens{Realm: "http://registry.example.org/token"}}
	named := func(r *http.Request) string { return "http://registry.example.org:80" + r.URL.Path }
	odd.Before = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method != "POST" || r.Host != "registry.example.org" {
			return false
		}
		w.Header().Set("Location", named(r))
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	odd.After = func(r *http.Request, h http.Header, status int) int {
		if status == http.StatusAccepted {
			h.Set("Location", strings.Replace(named(r), r.URL.Path, "", 1)+strings.TrimPrefix(h.Get("Location"), "http://"+r.Host))
		}
		return status
	}
	r := openNamed(t, "registry.example.org/org/a", Options{Keychain: ann, Transport: reaches(odd.Serve(t)), Push: true}, name.Insecure)
	index := randomIndex(t)
	if err := errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one")); err != nil {
		t.Error(err)
	}
}
