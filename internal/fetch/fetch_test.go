package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// quick makes a client that does not wait between its tries.
func quick(t *testing.T) *Client {
	t.Helper()
	return New(Options{Delay: time.Nanosecond})
}

// serve starts a server and counts its requests.
func serve(t *testing.T, handler http.HandlerFunc) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestGetStatus(t *testing.T) {
	tests := []struct {
		status    int
		requests  int32
		notFound  bool
		temporary bool
	}{
		{200, 1, false, false},
		{204, 1, false, false},
		{206, 1, false, false},
		{400, 1, false, false},
		{401, 1, false, false},
		{403, 1, false, false},
		{404, 1, true, false},
		{408, 3, false, true},
		{410, 1, true, false},
		{429, 3, false, true},
		{500, 3, false, true},
		{501, 1, false, false},
		{502, 3, false, true},
		{503, 3, false, true},
		{505, 1, false, false},
		{511, 1, false, false},
		{599, 3, false, true},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			url, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) })
			client := New(Options{Delay: time.Nanosecond, Attempts: 3})
			_, err := client.Get(t.Context(), url+"/x", 100)
			if got := requests.Load(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
			if tt.status == 200 {
				if err != nil {
					t.Errorf("Get: %v", err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Status != tt.status || e.URL != url+"/x" || e.Method != "GET" {
				t.Fatalf("Get = %#v, want an *Error with status %d", err, tt.status)
			}
			if got := errors.Is(err, ErrNotFound); got != tt.notFound {
				t.Errorf("errors.Is(%v, ErrNotFound) = %v", err, got)
			}
			if got := e.Temporary(); got != tt.temporary {
				t.Errorf("(%v).Temporary() = %v", err, got)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	tests := []struct {
		err  Error
		want string
	}{
		{Error{Method: "GET", URL: "http://h/p", Status: 404, Attempts: 1}, "GET http://h/p: 404 Not Found"},
		{Error{Method: "GET", URL: "http://h/p", Status: 503, Attempts: 5}, "GET http://h/p: 503 Service Unavailable (5 attempts)"},
		{Error{Method: "GET", URL: "http://h/p", Status: 599}, "GET http://h/p: 599"},
		{Error{Method: "GET", URL: "http://h/p", Status: 401, Err: errors.New("bad token")}, "GET http://h/p: 401 Unauthorized: bad token"},
		{Error{Method: "GET", URL: "http://h/p", Err: &StallError{"no byte for", time.Minute}, Attempts: 2}, "GET http://h/p: no byte for 1m0s (2 attempts)"},
		{Error{Method: "GET", URL: "http://h/p", Err: &shortError{5, 9, io.ErrUnexpectedEOF}}, "GET http://h/p: cut off after 5 of 9 bytes: unexpected EOF"},
		{Error{Method: "GET", URL: "http://h/p", Err: &shortError{5, -1, ErrChanged}}, "GET http://h/p: cut off after 5 bytes: changed while it was being fetched"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

func TestGetLimit(t *testing.T) {
	tests := []struct {
		name      string
		size      int
		announced bool
		err       string
	}{
		{"fits", 100, true, ""},
		{"fits, length unknown", 100, false, ""},
		{"too long", 101, true, "101 bytes: body is too large (limit 100 bytes)"},
		{"too long, length unknown", 101, false, "body is too large (limit 100 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !tt.announced {
					w.(http.Flusher).Flush()
				}
				w.Write(make([]byte, tt.size))
			})
			data, err := quick(t).Get(t.Context(), url, 100)
			if tt.err == "" {
				if err != nil || len(data) != tt.size {
					t.Errorf("Get = %d bytes, %v", len(data), err)
				}
				return
			}
			if !errors.Is(err, ErrTooLarge) || err.Error() != "GET "+url+": "+tt.err {
				t.Errorf("Get = %v, want %q", err, tt.err)
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests", requests.Load())
			}
		})
	}
}

// A stream gives what fits, then the error.
func TestOpenLimit(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.Write(make([]byte, 1000))
	})
	body, err := quick(t).Open(t.Context(), url, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if len(data) != 10 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("ReadAll = %d bytes, %v, want 10 and ErrTooLarge", len(data), err)
	}
}

func TestGetEncoding(t *testing.T) {
	text := []byte(strings.Repeat("StorePath: /nix/store/…\n", 20))
	var gz, br, zst bytes.Buffer
	for _, w := range []io.WriteCloser{gzip.NewWriter(&gz), brotli.NewWriter(&br), zstdWriter(t, &zst)} {
		w.Write(text)
		w.Close()
	}
	tests := []struct {
		name, encoding string
		body           []byte
		max            int64
		err            string
	}{
		{"none", "", text, 1000, ""},
		{"identity", "identity", text, 1000, ""},
		{"gzip", "gzip", gz.Bytes(), 1000, ""},
		{"brotli", "br", br.Bytes(), 1000, ""},
		{"zstd", "zstd", zst.Bytes(), 1000, ""},
		{"bomb", "gzip", gz.Bytes(), int64(len(text)) - 1, "body is too large"},
		{"not gzip", "gzip", text, 1000, "content encoding gzip: "},
		{"cut gzip", "gzip", gz.Bytes()[:gz.Len()-9], 1000, "content encoding gzip: unexpected EOF"},
		{"unknown", "compress", text, 1000, `content encoding "compress" is unknown`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
					t.Errorf("Accept-Encoding: %q", got)
				}
				if tt.encoding != "" {
					w.Header().Set("Content-Encoding", tt.encoding)
				}
				w.Write(tt.body)
			})
			data, err := quick(t).Get(t.Context(), url, tt.max)
			if requests.Load() != 1 {
				t.Errorf("%d requests", requests.Load())
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), url) {
					t.Errorf("Get = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !bytes.Equal(data, text) {
				t.Errorf("Get = %q, %v", data, err)
			}
		})
	}
}

func zstdWriter(t *testing.T, w io.Writer) io.WriteCloser {
	t.Helper()
	z, err := zstd.NewWriter(w)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Hashes are of the bytes on the server, so a stream has to stay as it is.
func TestOpenKeepsEncoding(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding: %q", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "not touched")
	})
	body, err := quick(t).Open(t.Context(), url, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if string(data) != "not touched" || err != nil || body.Encoding() != "gzip" || body.Size() != 11 {
		t.Errorf("%q, %v, encoding %q, size %d", data, err, body.Encoding(), body.Size())
	}
}

func TestRedirect(t *testing.T) {
	target, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, found := r.Header["Authorization"]; found {
			t.Error("credentials went to another host")
		}
		io.WriteString(w, "here")
	})
	target = strings.Replace(target, "127.0.0.1", "localhost", 1)
	source, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			t.Errorf("no credentials for the first host: %q, %q", user, password)
		}
		http.Redirect(w, r, target+"/there?X-Amz-Signature=c0ffee", http.StatusFound)
	})
	body, err := quick(t).Open(t.Context(), strings.Replace(source, "//", "//me:hunter2@", 1), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); string(data) != "here" || err != nil {
		t.Errorf("ReadAll = %q, %v", data, err)
	}
	if want := target + "/there?X-Amz-Signature=REDACTED"; body.URL() != want {
		t.Errorf("URL() = %q, want %q", body.URL(), want)
	}
}

func TestRedirectLoop(t *testing.T) {
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusFound)
	})
	_, err := quick(t).Get(t.Context(), url, 100)
	if !errors.Is(err, errRedirects) || requests.Load() != 10 {
		t.Errorf("Get = %v after %d requests", err, requests.Load())
	}
}

func TestSecretsStayOut(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/?token=s3cr3t", http.StatusFound)
	})
	url = strings.Replace(url, "//", "//me:s3cr3t@", 1) + "/?sig=s3cr3t"
	_, err := quick(t).Get(t.Context(), url, 100)
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Get = %v", err)
	}
}

func TestCertificateIsNotRetried(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about the refused handshake
	s.StartTLS()
	defer s.Close()
	_, err := quick(t).Get(t.Context(), s.URL, 100)
	var e *Error
	if !errors.As(err, &e) || e.Temporary() || e.Attempts != 1 {
		t.Errorf("Get = %v, temporary or tried more than once", err)
	}
}

func TestBadURL(t *testing.T) {
	tests := []struct{ url, want string }{
		{"s3://bucket/x", `GET s3://bucket/x: unknown URL scheme "s3" (want http, https or file)`},
		{"nix-cache-info", `GET nix-cache-info: unknown URL scheme "" (want http, https or file)`},
		{"http://h/%zz", "GET (not a URL): not a URL"},
		{"file://elsewhere/etc/passwd", "GET file://elsewhere/etc/passwd: unknown URL scheme: a file on another host"},
	}
	for _, tt := range tests {
		if _, err := quick(t).Get(t.Context(), tt.url, 10); err == nil || err.Error() != tt.want {
			t.Errorf("Get(%q) = %v, want %q", tt.url, err, tt.want)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a b")
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "file://" + dir + "/a%20b"
	if data, err := quick(t).Get(t.Context(), url, 5); string(data) != "hello" || err != nil {
		t.Errorf("Get = %q, %v", data, err)
	}
	tests := []struct {
		url  string
		max  int64
		is   error
		text string
	}{
		{url, 4, ErrTooLarge, "5 bytes: body is too large (limit 4 bytes)"},
		{url + "c", 9, ErrNotFound, "no such file or directory"},
		{url + "c", 9, fs.ErrNotExist, "no such file or directory"},
		{"file://" + dir, 9, errNotFile, "not a regular file"},
		{"file:///dev/zero", 9, errNotFile, "not a regular file"},
	}
	for _, tt := range tests {
		_, err := quick(t).Open(t.Context(), tt.url, tt.max)
		if !errors.Is(err, tt.is) || err.Error() != "GET "+tt.url+": "+tt.text {
			t.Errorf("Open(%q) = %v, want %q", tt.url, err, tt.text)
		}
	}
}

func TestProgress(t *testing.T) {
	var sum atomic.Int64
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100_000)) })
	client := New(Options{Progress: func(u string, n int64) {
		if u != url+"?token=REDACTED" {
			t.Errorf("progress of %q", u)
		}
		sum.Add(n)
	}})
	if _, err := client.Get(t.Context(), url+"?token=abc", 200_000); err != nil || sum.Load() != 100_000 {
		t.Errorf("progress of %d bytes, %v", sum.Load(), err)
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ url, want string }{
		{"https://cache.nixos.org/nix-cache-info", "https://cache.nixos.org/nix-cache-info"},
		{"https://me:pw@h/p#secret", "https://h/p"},
		{"https://h/nar/x.nar?hash=0123456789abcdfghijklmnpqrsvwxyz", "https://h/nar/x.nar?hash=0123456789abcdfghijklmnpqrsvwxyz"},
		{"https://h/p?per_page=100&access_token=x&TOKEN=y", "https://h/p?per_page=100&access_token=REDACTED&TOKEN=REDACTED"},
		{"https://h/p?X-Amz-Credential=a&X-Amz-Date=b&Sig%6Eature=c", "https://h/p?X-Amz-Credential=REDACTED&X-Amz-Date=REDACTED&Sig%6Eature=REDACTED"},
		{"https://h/p?jwt=ey.ey.x", "https://h/p?jwt=REDACTED"},
		{"https://h/p?a=" + strings.Repeat("x", 65), "https://h/p?a=REDACTED"},
		{"://", "(not a URL)"},
	}
	for _, tt := range tests {
		if got := Redact(tt.url); got != tt.want {
			t.Errorf("Redact(%q) = %q, want %q", tt.url, got, tt.want)
		}
	}
}

// Requests over one connection after another would make a closure slow.
func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = countNew(&connections)
	s.Start()
	defer s.Close()
	client := quick(t)
	for range 20 {
		if _, err := client.Get(t.Context(), s.URL, 10); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections for 20 requests in a row", got)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "12345")
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	body, err := quick(t).Open(ctx, url, 10)
	if err == nil {
		defer body.Close()
		_, err = io.ReadAll(body)
	}
	var e *Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Temporary() || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}
