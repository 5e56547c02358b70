package heads

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const etag = `W/"6c8a8c9d2b1f"`

func TestConditional(t *testing.T) {
	tagged := map[string]reply{branchPath + "nixos-unstable": {file: "branch.json", header: map[string]string{
		"ETag": etag, "X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59",
	}}}
	s := start(t, tagged)
	etags := &memory{}
	c := client(t, Options{API: s.URL, ETags: etags})
	for i := range 3 {
		got, err := c.Head(t.Context(), "nixos-unstable")
		if err != nil || got.Commit != want {
			t.Fatalf("Head = %v, %v", got, err)
		}
		condition := ""
		if i > 0 {
			condition = etag
		}
		if sent := s.requests[i].Header.Get("If-None-Match"); sent != condition {
			t.Errorf("request %d: If-None-Match: %q, want %q", i+1, sent, condition)
		}
	}
	if c.Rate().Remaining != 59 {
		t.Errorf("Rate() = %v, must be that of the last answer", c.Rate())
	}
	key := s.URL + branchPath + "nixos-unstable authenticated=false accept=application/vnd.github.v3+json"
	if e, ok := etags.entries[key]; !ok || len(etags.entries) != 1 || e.etag != etag {
		t.Errorf("remembered: %v", etags.entries)
	}

	// Whoever has a token may see other things: nothing is shared.
	withToken := client(t, Options{API: s.URL, ETags: etags, Token: "ghp_s3cr3t"})
	if _, err := withToken.Head(t.Context(), "nixos-unstable"); err != nil {
		t.Fatal(err)
	}
	last := s.requests[3]
	if last.Header.Get("If-None-Match") != "" || last.Header.Get("Authorization") != "Bearer ghp_s3cr3t" || len(etags.entries) != 2 {
		t.Errorf("headers %v, %d entries", last.Header, len(etags.entries))
	}
	for key, e := range etags.entries {
		if strings.Contains(key+e.etag+string(e.body), "s3cr3t") {
			t.Errorf("the token is remembered under %q", key)
		}
	}
}

// After a move the new answer counts, and is what is remembered.
func TestConditionalMove(t *testing.T) {
	replies := map[string]reply{branchPath + "nixos-unstable": {file: "branch.json", header: map[string]string{"ETag": etag}}}
	s := start(t, replies)
	etags := &memory{}
	old := strings.ReplaceAll(string(readFile(t, "branch.json")), rev, tree)
	c := client(t, Options{API: s.URL, ETags: etags})
	key := s.URL + branchPath + "nixos-unstable authenticated=false accept=application/vnd.github.v3+json"
	if err := etags.SetETag(key, `"old"`, []byte(old)); err != nil {
		t.Fatal(err)
	}
	got, err := c.Head(t.Context(), "nixos-unstable")
	if err != nil || got.Rev.String() != rev {
		t.Errorf("Head = %v, %v", got, err)
	}
	if s.requests[0].Header.Get("If-None-Match") != `"old"` || etags.entries[key].etag != etag {
		t.Errorf("asked for %q, remembered %q", s.requests[0].Header.Get("If-None-Match"), etags.entries[key].etag)
	}
}

func TestConditionalForgets(t *testing.T) {
	tests := []struct {
		name  string
		reply reply
	}{
		{"no tag", reply{file: "branch.json"}},
		{"not found", reply{status: 404, file: "branch-not-found.json", header: map[string]string{"ETag": etag}}},
		{"not JSON", reply{body: "<html>", header: map[string]string{"ETag": etag}}},
		{"too long", reply{body: `"` + strings.Repeat("x", maxStored) + `"`, header: map[string]string{"ETag": etag}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, map[string]reply{branchPath + "nixos-unstable": tt.reply})
			etags := &memory{}
			client(t, Options{API: s.URL, ETags: etags}).Head(t.Context(), "nixos-unstable")
			if diff := cmp.Diff(0, len(etags.entries)); diff != "" || len(s.paths()) == 0 {
				t.Errorf("remembered %v", etags.entries)
			}
		})
	}
}

// A state file that was damaged must not keep a channel from being followed.
func TestConditionalDamaged(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {file: "branch.json", header: map[string]string{"ETag": etag}}})
	key := s.URL + branchPath + "nixos-unstable authenticated=false accept=application/vnd.github.v3+json"
	etags := &memory{entries: map[string]entry{key: {etag, []byte(`{"name":"nixos-`)}}}
	got, err := client(t, Options{API: s.URL, ETags: etags}).Head(t.Context(), "nixos-unstable")
	if err != nil || got.Commit != want {
		t.Errorf("Head = %v, %v", got, err)
	}
}

func TestConditionalStoreFails(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {file: "branch.json", header: map[string]string{"ETag": etag}}})
	full := errors.New("disk full")
	_, err := client(t, Options{API: s.URL, ETags: &memory{err: full}}).Head(t.Context(), "nixos-unstable")
	if !errors.Is(err, full) {
		t.Errorf("Head = %v", err)
	}
}

// A repository that was renamed answers by a redirect, within the API; the token goes along, but not elsewhere.
func TestRedirect(t *testing.T) {
	moved := start(t, map[string]reply{
		branchPath + "nixos-unstable":                   {status: 301, file: "moved.json", header: map[string]string{"Location": "/repositories/4542716/branches/nixos-unstable"}},
		"/repositories/4542716/branches/nixos-unstable": {file: "branch.json"},
	})
	got, err := client(t, Options{API: moved.URL, Token: "ghp_s3cr3t"}).Head(t.Context(), "nixos-unstable")
	if err != nil || got.Commit != want {
		t.Fatalf("Head = %v, %v", got, err)
	}
	for _, r := range moved.requests {
		if r.Header.Get("Authorization") != "Bearer ghp_s3cr3t" {
			t.Errorf("%s without the token", r.URL)
		}
	}

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Authorization"]) > 0 {
			t.Error("the token went to another host")
		}
		w.Write(readFile(t, "branch.json"))
	}))
	defer other.Close()
	astray := start(t, map[string]reply{branchPath + "nixos-unstable": {status: 302, header: map[string]string{"Location": other.URL + "/"}}})
	etags := &memory{}
	if _, err := client(t, Options{API: astray.URL, Token: "ghp_s3cr3t", ETags: etags}).Head(t.Context(), "nixos-unstable"); err != nil || len(etags.entries) > 0 {
		t.Errorf("Head: %v, remembered %v", err, etags.entries)
	}
}

func TestTokenIsInNoError(t *testing.T) {
	s := start(t, map[string]reply{branchPath + "nixos-unstable": {status: 401, file: "bad-credentials.json"}})
	for _, api := range []string{s.URL, "http://127.0.0.1:1"} {
		_, err := client(t, Options{API: api, Token: "ghp_s3cr3t"}).Head(t.Context(), "nixos-unstable")
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.HasPrefix(err.Error(), "GET "+api) {
			t.Errorf("Head = %v", err)
		}
	}
}
