// Package attictest is an Attic server for tests: one cache, the calls of the
// API that a push needs, and the binary cache from which Nix reads back what
// was pushed.
//
// It is as strict as the real server, or stricter: permissions, hash, size and
// the form of every field of a NAR info are checked, the signatures of known
// keys too, and nothing is served that was not. Its behaviour follows the
// server's source (https://github.com/zhaofengli/attic, server/src).
package attictest

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// Options of a Server. The zero value does.
type Options struct {
	Dir      string          // where NARs are kept; "" is a folder that Close removes
	Cache    string          // name of the cache; "" is "factory"
	Public   bool            // everybody may pull
	Upstream []string        // upstream_cache_key_names; nil is cache.nixos.org-1
	Keys     []nix.PublicKey // a signature under the name of one of these has to be valid
	Trusting bool            // a NAR that the server knows need not be sent again to prove that one has it
}

// A Request is one that the server has answered.
type Request struct {
	Method string
	Path   string
	Status int
}

// A Server is an Attic server on a port of its own.
type Server struct {
	options Options
	dir     string
	http    *httptest.Server
	key     nixtest.SecretKey // signs what the cache has
	jwtKey  []byte

	mu       sync.Mutex
	requests []Request
	hooks    []func(http.ResponseWriter, *http.Request) bool
	api      string // api_endpoint
	nars     map[nix.Hash]storedNAR
	objects  map[string]nix.NARInfo // by digest of the store path
}

// Start starts a server on 127.0.0.1.
func Start(o Options) (*Server, error) {
	if o.Cache == "" {
		o.Cache = "factory"
	}
	if o.Upstream == nil {
		o.Upstream = []string{"cache.nixos.org-1"}
	}
	s := &Server{
		options: o,
		dir:     o.Dir,
		jwtKey:  []byte(rand.Text()),
		nars:    make(map[nix.Hash]storedNAR),
		objects: make(map[string]nix.NARInfo),
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "attictest-*")
		if err != nil {
			return nil, err
		}
		s.dir = dir
	}
	var seed [32]byte
	rand.Read(seed[:])
	s.key = nixtest.NewSecretKey(o.Cache, seed)
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.http.Start()
	return s, nil
}

// Close stops the server.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
	if s.options.Dir == "" {
		os.RemoveAll(s.dir)
	}
}

// URL is the server's endpoint, without a slash at the end.
func (s *Server) URL() string { return s.http.URL }

// Substituter is the address of the cache for Nix.
func (s *Server) Substituter() string { return s.http.URL + "/" + s.options.Cache }

// PublicKey verifies what the cache serves.
func (s *Server) PublicKey() nix.PublicKey { return s.key.Public() }

// SetAPIEndpoint makes the cache's configuration tell clients to use another
// address for all further calls.
func (s *Server) SetAPIEndpoint(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api = url
}

// Handle puts a hook before everything else: it answers a request itself and
// returns true, or leaves it to older hooks and the server.
func (s *Server) Handle(hook func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
}

// Requests returns all requests so far, in the order of their answers' ends.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Objects returns what the cache has, sorted by path, as it serves it.
func (s *Server) Objects() []nix.PathInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []nix.PathInfo
	for _, o := range s.objects {
		all = append(all, o.PathInfo)
	}
	slices.SortFunc(all, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return all
}

// Forget removes an object from the cache, as its garbage collector does. The
// server still knows its NAR.
func (s *Server) Forget(p nix.StorePath) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[p.Digest()]; !ok {
		return fmt.Errorf("the cache does not have %s", p)
	}
	delete(s.objects, p.Digest())
	return nil
}

// Upload answers an upload as the server does, past all hooks.
func (s *Server) Upload(w http.ResponseWriter, r *http.Request) { s.uploadPath(w, r) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, answer.status})
	}()
	s.mu.Lock()
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	for _, hook := range slices.Backward(hooks) {
		if hook(answer, r) {
			return
		}
	}
	s.routes().ServeHTTP(answer, r)
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_api/v1/cache-config/{cache}", s.cacheConfig)
	mux.HandleFunc("POST /_api/v1/get-missing-paths", s.missingPaths)
	mux.HandleFunc("PUT /_api/v1/upload-path", s.uploadPath)
	mux.HandleFunc("GET /{cache}/nix-cache-info", s.cacheInfo)
	mux.HandleFunc("GET /{cache}/{file}", s.narInfo)
	mux.HandleFunc("GET /{cache}/nar/{file}", s.nar)
	return mux
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
