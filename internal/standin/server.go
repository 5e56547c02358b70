package standin

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Request is one that a server has answered.
type Request struct {
	Method string
	Path   string // without the query
	Query  string
	Status int
}

// A Server serves a fixture on a port of its own. Its heads, rate limit and
// faults are its own too: tests that share a fixture do not see each other.
type Server struct {
	fixture     *Fixture
	token       string
	binaryCache string // "": the fixture's
	url         string
	http        *http.Server
	mux         *http.ServeMux
	served      chan struct{} // closed when http has stopped

	mu       sync.Mutex
	requests []Request
	hooks    []*func(http.ResponseWriter, *http.Request) bool
	heads    map[string][]push // channel -> what it has pointed at, oldest first
	rate     rate
}

// Start serves the fixture until Close is called or ctx is done.
func (f *Fixture) Start(ctx context.Context, o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		fixture:     f,
		token:       o.Token,
		binaryCache: o.BinaryCache,
		url:         "http://" + l.Addr().String(),
		served:      make(chan struct{}),
		heads:       map[string][]push{},
		rate:        newRate(o.Token != ""),
	}
	s.pushAll()
	s.mux = s.routes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		s.http.Serve(l)
	}()
	context.AfterFunc(ctx, s.Close)
	return s, nil
}

// Close stops the server, cutting off what it is answering.
func (s *Server) Close() {
	s.http.Close()
	<-s.served
}

// Done is closed when the server has stopped.
func (s *Server) Done() <-chan struct{} { return s.served }

// URL is where the server is, http://host:port, without a slash at the end as all of these.
func (s *Server) URL() string { return s.url }

// API is what stands for https://api.github.com.
func (s *Server) API() string { return s.url + apiPrefix }

// Archive is what stands for https://github.com.
func (s *Server) Archive() string { return s.url }

// Cache is what stands for https://cache.nixos.org.
func (s *Server) Cache() string { return s.url + "/cache" }

// PublicKey is the key that verifies the binary cache, as name:base64.
func (s *Server) PublicKey() string { return s.fixture.PublicKey() }

// Requests returns all requests since the server started, in the order of their answers' ends.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Handle puts a hook before everything else: it answers a request itself and returns true,
// or leaves it to older hooks and the server. It may delay or, with
// panic(http.ErrAbortHandler), cut off an answer. The returned function removes it.
func (s *Server) Handle(hook func(http.ResponseWriter, *http.Request) bool) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &hook
	s.hooks = append(s.hooks, p)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hooks = slices.DeleteFunc(s.hooks, func(h *func(http.ResponseWriter, *http.Request) bool) bool { return h == p })
	}
}

// ServeHTTP logs the request, then lets hooks and routes answer it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	logged := &statusWriter{ResponseWriter: w}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: logged.status})
	}()
	s.mu.Lock()
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	for _, h := range slices.Backward(hooks) {
		if (*h)(logged, r) {
			return
		}
	}
	s.mux.ServeHTTP(logged, r)
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	s.routeGitHub(mux)
	s.routeArchives(mux)
	s.routeControl(mux)
	files := http.StripPrefix("/cache/", http.FileServer(http.Dir(cmp.Or(s.binaryCache, s.fixture.CacheFolder()))))
	mux.HandleFunc("GET /cache/{file...}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("file")
		switch {
		case name == "" || strings.HasSuffix(name, "/") || name == "nar":
			http.NotFound(w, r)
			return
		case strings.HasSuffix(name, ".narinfo"):
			w.Header().Set("Content-Type", "text/x-nix-narinfo")
		case strings.HasPrefix(name, "nar/"):
			w.Header().Set("Content-Type", "application/x-nix-nar")
		default:
			w.Header().Set("Content-Type", "text/x-nix-cache-info")
		}
		files.ServeHTTP(w, r)
	})
	return mux
}

// A statusWriter remembers the status, 200 if nothing else is said.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
