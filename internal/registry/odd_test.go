package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

var ann = keychain{authn.FromConfig(authn.AuthConfig{Username: "ann", Password: "secret"})}

// waits notes how long tries wait for each other, without waiting.
type waits struct{ all []time.Duration }

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.all = append(w.all, d)
	return ctx.Err()
}

func openAt(t *testing.T, at string, o Options) Repository {
	t.Helper()
	repo, err := name.NewRepository(at)
	if err != nil {
		t.Fatal(err)
	}
	if o.Sleep == nil {
		o.Sleep = (&waits{}).sleep
	}
	o.Jobs, o.Push = 1, true
	r, err := Remote(repo, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func is(r *http.Request, method, part string) bool {
	return r.Method == method && strings.Contains(r.URL.Path, part)
}

const byDigest = "/manifests/sha256:"

// oddities are ways of registries that a push has to get along with. Most are
// known from public bug reports. The first ones of each kind of request fail.
func oddities() map[string]*registrytest.Odd {
	return map[string]*registrytest.Odd{
		"none": {},

		"tokens":                                {Tokens: &registrytest.Tokens{}},
		"a token that has expired, for a layer": {Tokens: &registrytest.Tokens{Good: first(func(r *http.Request) bool { return is(r, "PATCH", "/blobs/") })}},
		"a token that has expired, for the end of a layer": {Tokens: &registrytest.Tokens{Good: first(func(r *http.Request) bool { return is(r, "PUT", "/blobs/") })}},
		"a token that has expired, for a manifest":         {Tokens: &registrytest.Tokens{Good: first(func(r *http.Request) bool { return is(r, "PUT", byDigest) })}},
		"a token that has expired, for a tag":              {Tokens: &registrytest.Tokens{Good: first(func(r *http.Request) bool { return is(r, "PUT", "/manifests/one") })}},
		"a token that has expired, for a question":         {Tokens: &registrytest.Tokens{Good: first(func(r *http.Request) bool { return is(r, "HEAD", "") })}},
		"two challenges":       {Tokens: &registrytest.Tokens{Basic: true}},
		"only the last scope":  {Tokens: &registrytest.Tokens{Grant: func(s []string) []string { return s[len(s)-1:] }}},
		"only the first scope": {Tokens: &registrytest.Tokens{Grant: func(s []string) []string { return s[:1] }}},

		"the life of a token is text":      {Tokens: &registrytest.Tokens{Life: "300"}},
		"the life of a token is no number": {Tokens: &registrytest.Tokens{Life: "soon"}},
		"the life of a token is a moment":  {Tokens: &registrytest.Tokens{Life: 300.5}},

		"no digest": {After: func(r *http.Request, h http.Header, status int) int {
			h.Del("Docker-Content-Digest")
			return status
		}},
		"no digest for HEAD": {After: func(r *http.Request, h http.Header, status int) int {
			if r.Method == "HEAD" {
				h.Del("Docker-Content-Digest")
			}
			return status
		}},
		"no length for HEAD": {After: func(r *http.Request, h http.Header, status int) int {
			if r.Method == "HEAD" {
				h.Del("Content-Length")
			}
			return status
		}},
		"text/plain": {After: func(r *http.Request, h http.Header, status int) int {
			if strings.Contains(r.URL.Path, "/manifests/") {
				h.Set("Content-Type", "text/plain")
			}
			return status
		}},
		"no HEAD": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.Method == "HEAD" && answer(w, 405)
		}},

		"an absent tag is forbidden": {After: func(r *http.Request, _ http.Header, status int) int {
			if strings.Contains(r.URL.Path, "/manifests/") && status == 404 {
				return 403
			}
			return status
		}},
		"an absent tag is not for you": {After: func(r *http.Request, _ http.Header, status int) int {
			if strings.Contains(r.URL.Path, "/manifests/") && status == 404 {
				return 401
			}
			return status
		}},
		"an absent tag is a bad request": {After: func(r *http.Request, _ http.Header, status int) int {
			if strings.Contains(r.URL.Path, "/manifests/") && status == 404 {
				return 400
			}
			return status
		}},
		"manifests are seen late": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return is(r, "HEAD", byDigest) && n < 5 && registrytest.Refuse(w, 404, "MANIFEST_UNKNOWN", "not yet")
		}},
		"tags are seen late": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return is(r, "HEAD", "/manifests/one") && n < 5 && registrytest.Refuse(w, 404, "MANIFEST_UNKNOWN", "not yet")
		}},
		"an index before its manifests": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return is(r, "PUT", byDigest) && n == 0 && registrytest.Refuse(w, 400, "MANIFEST_BLOB_UNKNOWN", "not yet")
		}},

		"too many requests": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if sendsBlob(r) || n >= 2 { // an upload has another path each time
				return false
			}
			w.Header().Set("Retry-After", "5")
			return answer(w, 429)
		}},
		"internal errors": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return n < 2 && !sendsBlob(r) && registrytest.Refuse(w, 500, "UNKNOWN", "backend")
		}},
		"an upload is lost": {Before: firstOnes("PATCH", func(w http.ResponseWriter) {
			registrytest.Refuse(w, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		})},
		"an upload is lost at its end": {Before: firstOnes("PUT", func(w http.ResponseWriter) {
			registrytest.Refuse(w, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		})},
		"an upload breaks off": {Before: firstOnes("PATCH", func(w http.ResponseWriter) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		})},
		"an upload ends later than a proxy waits": {After: func(r *http.Request, _ http.Header, status int) int {
			if r.Method == "PUT" && sendsBlob(r) && status == 201 {
				return 504
			}
			return status
		}},
		"no PATCH": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.Method == "PATCH" && answer(w, 405)
		}},
		"no blob by one request": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.Method == "PUT" && sendsBlob(r) && r.ContentLength != 0 && answer(w, 405)
		}},
		"no blob by one request, which ends the upload":            {Before: endsUpload("PUT", 405, "UNSUPPORTED")},
		"a blob by one request is empty, which ends the upload":    {Before: endsUpload("PUT", 400, "DIGEST_INVALID")},
		"a blob by two requests is refused, which ends the upload": {Before: endsUpload("PATCH", 405, "UNSUPPORTED")},
		"the Location of a blob is no URL": {After: func(r *http.Request, h http.Header, status int) int {
			if r.Method == "PUT" && sendsBlob(r) {
				h.Set("Location", "http://[::1")
			}
			return status
		}},
		"no length, no upload": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.Method == "PATCH" && r.ContentLength < 0 && answer(w, 411)
		}},
		"all that is sent is redirected":             {Before: redirected(307, "POST", "PATCH", "PUT")},
		"all that is sent is redirected permanently": {Before: redirected(308, "POST", "PATCH", "PUT")},
		"all questions are redirected":               {Before: redirected(302, "GET", "HEAD")},
		"Location is a path":                         {After: location(func(u *url.URL) { u.Scheme, u.Host = "", "" })},
		"Location has no port": {After: location(func(u *url.URL) {
			u.Scheme, u.Host = "http", "127.0.0.1"
		})},
		"what is mounted is not there": {Before: strictly(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("mount") && answer(w, 201)
		})},
		"blobs are said to be there": {Before: strictly(func(w http.ResponseWriter, r *http.Request) bool {
			return is(r, "HEAD", "/blobs/sha256:") && answer(w, 200)
		})},
		"no mounts": {Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.URL.Query().Has("mount") && registrytest.Refuse(w, 400, "UNSUPPORTED", "mount")
		}},
	}
}

// redirected leads requests of some methods to the same path with another query.
func redirected(status int, methods ...string) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		q := r.URL.Query()
		if r.URL.Path == "/v2/" || q.Has("again") || !slices.Contains(methods, r.Method) {
			return false
		}
		io.CopyN(io.Discard, r.Body, 100)
		q.Set("again", "1")
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?"+q.Encode())
		return answer(w, status)
	}
}

// endsUpload refuses blobs that a method brings, and does not know their uploads afterwards.
func endsUpload(method string, status int, code string) func(http.ResponseWriter, *http.Request, int) bool {
	ended := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		switch {
		case !sendsBlob(r):
			return false
		case ended[r.URL.Path]:
			return registrytest.Refuse(w, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		case r.Method == method && r.ContentLength != 0:
			ended[r.URL.Path] = true
			return registrytest.Refuse(w, status, code, "not so")
		}
		return false
	}
}

// strictly refuses manifests of which a blob was not sent, whatever the registry told of it before.
func strictly(before func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request, int) bool {
	sent := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		switch {
		case r.Method == "PUT" && sendsBlob(r):
			repository, _, _ := strings.Cut(r.URL.Path, "/blobs/")
			sent[repository+" "+r.URL.Query().Get("digest")] = true
		case is(r, "PUT", "/manifests/"):
			repository, _, _ := strings.Cut(r.URL.Path, "/manifests/")
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				panic(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(raw))
			var m named
			if err := json.Unmarshal(raw, &m); err != nil {
				panic(err)
			}
			for _, layer := range m.Layers {
				if !sent[repository+" "+layer.Digest.String()] {
					return registrytest.Refuse(w, 400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
				}
			}
		}
		return before(w, r)
	}
}

// sendsBlob tells whether a request brings a blob, or a part or the end of one.
func sendsBlob(r *http.Request) bool {
	return (r.Method == "PUT" || r.Method == "PATCH") && strings.Contains(r.URL.Path, "/blobs/uploads/")
}

func answer(w http.ResponseWriter, status int) bool {
	w.WriteHeader(status)
	return true
}

// first is false for the first two requests that match.
func first(match func(*http.Request) bool) func(*http.Request) bool {
	n := 0
	return func(r *http.Request) bool {
		if match(r) {
			n++
			return n > 2
		}
		return true
	}
}

// firstOnes answers the first two requests of a method for blobs.
func firstOnes(method string, with func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request, int) bool {
	n := 0
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !is(r, method, "/blobs/") {
			return false
		}
		if n++; n > 2 {
			return false
		}
		io.CopyN(io.Discard, r.Body, 100)
		with(w)
		return true
	}
}

func location(change func(*url.URL)) func(*http.Request, http.Header, int) int {
	return func(r *http.Request, h http.Header, status int) int {
		if l := h.Get("Location"); l != "" && r.Method != "GET" && r.Method != "HEAD" {
			u, err := url.Parse(l)
			if err != nil {
				panic(err)
			}
			change(u)
			h.Set("Location", u.String())
		}
		return status
	}
}

// TestOddities publishes an index into two repositories of each odd registry, with
// blobs sent by one request and by two, and reads it back.
func TestOddities(t *testing.T) {
	t.Run("one request", func(t *testing.T) { publishToOdd(t, 0) })
	t.Run("two requests", func(t *testing.T) { publishToOdd(t, -1) })
}

func publishToOdd(t *testing.T, whole int64) {
	for what, odd := range oddities() {
		t.Run(what, func(t *testing.T) {
			host := odd.Serve(t)
			index := randomIndex(t)
			var client *Client
			for _, at := range []string{"/org/a", "/org/b"} {
				repo, err := name.NewRepository(host + at)
				if err != nil {
					t.Fatal(err)
				}
				if client == nil {
					client = NewClient(Options{Keychain: ann, Sleep: (&waits{}).sleep, Jobs: 1, Push: true, Whole: whole})
				}
				r, err := client.Repository(repo)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Digest(t.Context(), "one"); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: Digest() before = %v, want ErrNotFound", at, err)
				}
				if err := r.CanPush(t.Context()); err != nil {
					t.Errorf("%s: CanPush() = %v", at, err)
				}
				if err := errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one")); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				if got, err := r.Digest(t.Context(), "one"); err != nil || got != digestOf(t, index) {
					t.Errorf("%s: Digest() = %v, %v, want %v", at, got, err, digestOf(t, index))
				}
				if missing, err := r.Missing(t.Context(), digestOf(t, index)); err != nil || len(missing) > 0 {
					t.Errorf("%s: Missing() = %v, %v", at, missing, err)
				}
				back, err := r.Index(t.Context(), "one")
				if err != nil || digestOf(t, back) != digestOf(t, index) {
					t.Errorf("%s: Index() = %v", at, err)
				}
			}
		})
	}
}

// What cannot be published says why, in one line, and names a remedy.
func TestRefusals(t *testing.T) {
	const page = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"
	for what, tt := range map[string]struct {
		odd  *registrytest.Odd
		want []string
	}{
		"a proxy's limit": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if !sendsBlob(r) {
					return false
				}
				w.WriteHeader(413)
				io.WriteString(w, page)
				return true
			}},
			[]string{"PUT http://", "413 Request Entity Too Large", "sent: sha256:", " bytes)", "larger than a proxy allows"},
		},
		"a page of an error": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if r.Method != "PUT" || !strings.Contains(r.URL.Path, byDigest) {
					return false
				}
				w.WriteHeader(502)
				io.WriteString(w, page)
				return true
			}},
			[]string{"PUT http://", "502 Bad Gateway", "sent: manifest, "},
		},
		"no repository": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return r.Method == "POST" && registrytest.Refuse(w, 404, "NAME_UNKNOWN", "The repository does not exist in the registry")
			}},
			[]string{"create it first", "NAME_UNKNOWN"},
		},
		"an index that is not kept": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return is(r, "PUT", byDigest) && strings.Contains(r.Header.Get("Content-Type"), "index") && answer(w, 201)
			}},
			[]string{"pushed, but asking for it back", "not found"},
		},
		"a tag that is not kept": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return is(r, "PUT", "/manifests/one") && answer(w, 201)
			}},
			[]string{"set, but asking for it back", "not found"},
		},
		"an index that is refused": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return is(r, "PUT", byDigest) && strings.Contains(r.Header.Get("Content-Type"), "index") &&
					registrytest.Refuse(w, 415, "MANIFEST_INVALID", `schema\nunsupported`+strings.Repeat(" word", 200))
			}},
			[]string{"415", "MANIFEST_INVALID: schema unsupported word", "…"},
		},
		"an answer to a write that is not about what is absent": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return is(r, "PUT", byDigest) && answer(w, 404)
			}},
			[]string{"404"},
		},
		"absent or forbidden": {
			&registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return r.Method != "POST" && strings.Contains(r.URL.Path, "/org/") && answer(w, 403)
			}},
			[]string{"403", "log in with docker login", "does not exist", "hides what is absent", "virtual repositories", "create the repository"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := &waits{}
			r := openAt(t, tt.odd.Serve(t)+"/org/a", Options{Keychain: ann, Sleep: w.sleep})
			index := randomIndex(t)
			_, err := r.Digest(t.Context(), "one")
			if err == nil || errors.Is(err, ErrNotFound) {
				if err = r.Push(t.Context(), index); err == nil {
					err = r.Tag(t.Context(), index, "one")
				}
				if errors.Is(err, ErrNotFound) && !strings.Contains(what, "not kept") {
					t.Errorf("%v says that something was not found", err)
				}
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r<>") || len(err.Error()) > 900 {
				t.Errorf("the error is not one short line: %q", err)
			}
		})
	}
}

// A redirect of the kinds that make GET of what is sent brings nothing, and the 200 that
// GET gets is not that of a registry that has it.
func TestRedirectsThatSendNothing(t *testing.T) {
	for _, tt := range []struct {
		method, part string
		whole        int64
	}{
		{"POST", "/blobs/uploads/", 0},
		{"PUT", "/blobs/uploads/", 0},
		{"PATCH", "/blobs/uploads/", -1},
		{"PUT", "/blobs/uploads/", -1},
		{"PUT", "/manifests/", 0},
	} {
		for _, status := range []int{301, 302, 303} {
			t.Run(fmt.Sprintf("%s %s %d %d", tt.method, tt.part, tt.whole, status), func(t *testing.T) {
				odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
					if r.URL.Query().Has("again") {
						return answer(w, 200)
					}
					return is(r, tt.method, tt.part) && redirected(status, tt.method)(w, r, 0)
				}}
				host := odd.Serve(t)
				r := openAt(t, host+"/org/a", Options{Whole: tt.whole})
				index := randomIndex(t)
				err := pushedOneByOne(t, r, index)
				want := fmt.Sprintf("%d %s: redirected to http://%s/v2/org/a%s", status, http.StatusText(status), host, tt.part)
				if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), tt.method+" http://") {
					t.Errorf("error %v, want one with %q", err, want)
				}
				if strings.Contains(fmt.Sprint(err), "?") {
					t.Errorf("the error has a query: %v", err)
				}
				if followed := odd.Asked(func(s string) bool { return strings.HasPrefix(s, "GET ") && strings.Contains(s, tt.part) }); len(followed) > 0 {
					t.Errorf("followed: %v", followed)
				}
			})
		}
	}
}

// pushedOneByOne sends a layer and a manifest, with nothing that asks for the layer
// once more.
func pushedOneByOne(t *testing.T, r Repository, index v1.ImageIndex) error {
	t.Helper()
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.SendBlob(t.Context(), layers[0]); err != nil {
		return err
	}
	return r.Tag(t.Context(), index, "one")
}

// What is asked for by its digest is that, or an error: a registry may be wrong.
func TestAnotherDigest(t *testing.T) {
	other := "sha256:" + strings.Repeat("0", 64)
	odd := &registrytest.Odd{After: func(r *http.Request, h http.Header, status int) int {
		if is(r, "HEAD", byDigest) {
			h.Set("Docker-Content-Digest", other)
		}
		return status
	}}
	r := openAt(t, odd.Serve(t)+"/org/a", Options{})
	if err := r.Push(t.Context(), randomIndex(t)); err == nil || !strings.Contains(err.Error(), "the registry answers with "+other) {
		t.Errorf("Push() = %v", err)
	}
	index := randomIndex(t)
	if got, err := r.Digest(t.Context(), digestOf(t, index).String()); err == nil {
		t.Errorf("Digest() = %v of what is not there", got)
	}
	odd.After = nil
	if err := r.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	odd.After = func(r *http.Request, h http.Header, status int) int {
		h.Set("Docker-Content-Digest", other)
		return status
	}
	if got, err := r.Digest(t.Context(), digestOf(t, index).String()); err == nil {
		t.Errorf("Digest() = %v of %v", got, digestOf(t, index))
	}
}
