package standin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArchive(t *testing.T) {
	s := testServer(t, Options{})
	rev := s.Head("nixos-unstable")
	url := s.Archive() + "/" + Repository + "/archive/" + rev + ".tar.gz"
	resp, _ := get(t, url, nil)
	to := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusFound || to != s.URL()+"/codeload/NixOS/nixpkgs/tar.gz/"+rev {
		t.Fatalf("GET %s: %d to %q", url, resp.StatusCode, to)
	}
	resp, body := get(t, to, nil)
	want, err := os.ReadFile(s.fixture.ArchiveFile(rev))
	if err != nil {
		t.Fatal(err)
	}
	if body != string(want) {
		t.Errorf("GET %s: %d bytes that are not the archive's %d", to, len(body), len(want))
	}
	if resp.ContentLength != -1 || resp.Header.Get("Content-Type") != "application/x-gzip" {
		t.Errorf("GET %s: length %d, headers %v", to, resp.ContentLength, resp.Header)
	}
	for _, path := range []string{"/archive/" + zeroRev + ".tar.gz", "/archive/" + rev + ".zip"} {
		if resp, _ := get(t, s.Archive()+"/"+Repository+path, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, resp.StatusCode)
		}
	}
}

func TestCacheFiles(t *testing.T) {
	s := testServer(t, Options{})
	f := s.fixture
	info := readNarinfo(t, f, f.Outputs(s.Head("nixos-unstable"), Systems[0])["hello"][0])
	for _, c := range []struct {
		path, etc string
		status    int
		kind      string
	}{
		{path: "/nix-cache-info", status: 200, kind: "text/x-nix-cache-info"},
		{path: "/" + strings.TrimPrefix(info["StorePath"], "/nix/store/")[:32] + ".narinfo", status: 200, kind: "text/x-nix-narinfo"},
		{path: "/" + info["URL"], status: 200, kind: "application/x-nix-nar"},
		{path: "/" + info["URL"], etc: "bytes=10-", status: 206, kind: "application/x-nix-nar"},
		{path: "/" + strings.Repeat("0", 32) + ".narinfo", status: 404},
		{path: "/nar/", status: 404},
		{path: "/", status: 404},
	} {
		resp, body := get(t, s.Cache()+c.path, map[string]string{"Range": c.etc})
		if resp.StatusCode != c.status || c.kind != "" && resp.Header.Get("Content-Type") != c.kind {
			t.Errorf("GET %s (%s): %d, %s; want %d, %s", c.path, c.etc, resp.StatusCode, resp.Header.Get("Content-Type"), c.status, c.kind)
		}
		if c.path == "/nix-cache-info" && body != cacheInfo {
			t.Errorf("nix-cache-info is %q", body)
		}
	}
}

func TestHeads(t *testing.T) {
	s := testServer(t, Options{})
	f := s.fixture
	for _, want := range []string{"release-leaf", "release-deep"} {
		rev, err := s.NextHead("nixos-26.05")
		if err != nil || rev != f.Commit(want).Rev || s.Head("nixos-26.05") != rev {
			t.Errorf("NextHead = %q, %v, want %s", rev, err, want)
		}
	}
	if _, err := s.NextHead("nixos-26.05"); !errors.Is(err, ErrLast) {
		t.Errorf("NextHead at the end: error %v, want %v", err, ErrLast)
	}
	for _, c := range []struct{ channel, rev, want string }{
		{"nixos-27.05", f.Commit("old").Rev, `no channel "nixos-27.05" (there are nixos-26.05, nixos-unstable)`},
		{"nixos-unstable", "abc", `nixos-unstable never points at "abc"`},
		{"nixos-unstable", f.Commit("release-doc").Rev, "nixos-unstable never points at"},
	} {
		if err := s.SetHead(c.channel, c.rev); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("SetHead(%q, %q) = %v, want %q", c.channel, c.rev, err, c.want)
		}
	}
	if _, err := s.NextHead("nixos-27.05"); err == nil || errors.Is(err, ErrLast) {
		t.Errorf("NextHead of no channel: error %v", err)
	}
}

// TestHooks: a newer hook comes first, one that declines leaves the answer to
// the next, and one that is removed is gone. All is logged, cut-off answers too.
func TestHooks(t *testing.T) {
	s := testServer(t, Options{})
	s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	remove := s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/cache/cut" {
			return false
		}
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "not a hundred")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	status := func(path string) int {
		t.Helper()
		resp, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err != nil {
			return -resp.StatusCode
		}
		return resp.StatusCode
	}
	got := []int{status("/cache/cut"), status("/cache/nix-cache-info?a=b")}
	remove()
	got = append(got, status("/cache/cut"))
	if diff := cmp.Diff([]int{-200, 502, 502}, got); diff != "" {
		t.Errorf("status, negative if cut off (-want +got):\n%s", diff)
	}
	want := []Request{
		{Method: "GET", Path: "/cache/cut", Status: 200},
		{Method: "GET", Path: "/cache/nix-cache-info", Query: "a=b", Status: 502},
		{Method: "GET", Path: "/cache/cut", Status: 502},
	}
	if diff := cmp.Diff(want, s.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestServerEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := testFixture(t).Start(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.Done()
	if _, err := http.Get(s.URL()); err == nil {
		t.Error("it still answers")
	}
	s.Close()
	if _, err := testFixture(t).Start(t.Context(), Options{Addr: "nowhere:http"}); err == nil {
		t.Error("it listens nowhere")
	}
}
