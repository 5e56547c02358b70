package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// upstream signs what stands for the objects of cache.nixos.org.
var upstream = nixtest.NewSecretKey("cache.nixos.org-1", [32]byte{1})

// shelf holds store objects in memory. It counts what is open.
type shelf struct {
	mu    sync.Mutex
	nars  map[nix.StorePath][]byte
	infos []nix.PathInfo
	reads map[nix.StorePath]int
	open  int
}

func newShelf() *shelf {
	return &shelf{nars: map[nix.StorePath][]byte{}, reads: map[nix.StorePath]int{}}
}

// add makes a store object of one file that refers to others.
func (s *shelf) add(t testing.TB, name, content string, refs ...nix.StorePath) nix.PathInfo {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	hash := nix.Hash(sha256.Sum256(b.Bytes()))
	p, err := nix.SourcePath(name, hash, refs)
	if err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{Path: p, NarHash: hash, NarSize: int64(b.Len()), References: refs}
	s.nars[p] = b.Bytes()
	s.infos = append(s.infos, info)
	return info
}

// addSigned makes a store object that upstream has signed.
func (s *shelf) addSigned(t testing.TB, name, content string, refs ...nix.StorePath) nix.PathInfo {
	t.Helper()
	info := s.add(t, name, content, refs...)
	info.Sigs = []nix.Signature{upstream.Sign(info)}
	s.infos[len(s.infos)-1] = info
	return info
}

// NAR implements Objects.
func (s *shelf) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.nars[info.Path]
	if !ok {
		return nil, errors.New("there is no such NAR")
	}
	s.reads[info.Path]++
	s.open++
	return &volume{Reader: bytes.NewReader(data), shelf: s}, nil
}

// leaks reports whether a NAR was left open.
func (s *shelf) leaks(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != 0 {
		t.Errorf("%d NARs are still open", s.open)
	}
}

type volume struct {
	io.Reader
	shelf  *shelf
	closed bool
}

func (v *volume) Read(p []byte) (int, error) {
	if v.closed {
		return 0, errors.New("read after close")
	}
	return v.Reader.Read(p)
}

func (v *volume) Close() error {
	v.shelf.mu.Lock()
	defer v.shelf.mu.Unlock()
	if v.closed {
		return errors.New("closed twice")
	}
	v.closed = true
	v.shelf.open--
	return nil
}

// few returns a shelf with two objects of our own and two of upstream.
func few(t testing.TB) *shelf {
	t.Helper()
	s := newShelf()
	libc := s.addSigned(t, "glibc-2.40", "libc")
	bash := s.addSigned(t, "bash-5.2", "bash", libc.Path)
	s.add(t, "nixpkgs-src", "{ }")
	s.add(t, "tool-1", strings.Repeat("tool", 1000), libc.Path, bash.Path)
	return s
}

func startAttic(t testing.TB, o attictest.Options) *attictest.Server {
	t.Helper()
	o.Dir = t.TempDir()
	s, err := attictest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// quick is a target that does not wait long to try again.
func quick(s *attictest.Server) Attic {
	return Attic{
		Endpoint: s.URL(),
		Cache:    "factory",
		Token:    s.Token("*", attictest.Pull, attictest.Push),
		Client:   fetch.New(fetch.Options{Attempts: 2, Delay: time.Millisecond}),
	}
}

// calls returns the requests to a server as "METHOD last-part status".
func calls(s *attictest.Server) []string {
	var list []string
	for _, r := range s.Requests() {
		list = append(list, fmt.Sprintf("%s %s %d", r.Method, strings.TrimPrefix(r.Path, "/_api/v1/"), r.Status))
	}
	return list
}

// bases returns the base names of the paths.
func bases(infos []nix.PathInfo) []string {
	var list []string
	for _, info := range infos {
		list = append(list, info.Path.Name())
	}
	return list
}

// network is a transport without sockets.
type network func(*http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

// client makes requests over a network, as often as o says.
func client(n network, o fetch.Options) *fetch.Client {
	o.HTTP = &http.Client{Transport: n}
	return fetch.New(o)
}

func reply(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
}

func sha(data []byte) [32]byte { return sha256.Sum256(data) }

// given is Objects that give one stream.
type given struct{ io.Reader }

func (g given) NAR(context.Context, nix.PathInfo) (io.ReadCloser, error) {
	return io.NopCloser(g.Reader), nil
}
