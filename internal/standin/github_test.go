package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v62/github"
)

func testClient(t *testing.T, s *Server) *github.Client {
	t.Helper()
	c := github.NewClient(nil)
	base, err := url.Parse(s.API() + "/")
	if err != nil {
		t.Fatal(err)
	}
	c.BaseURL = base
	return c
}

func TestBranch(t *testing.T) {
	s := testServer(t, Options{})
	want := s.fixture.Commit("release-doc")
	b, resp, err := testClient(t, s).Repositories.GetBranch(t.Context(), RepositoryOwner, RepositoryName, "nixos-26.05", 0)
	if err != nil {
		t.Fatal(err)
	}
	c := b.GetCommit()
	got := Commit{
		Rev: c.GetSHA(), Tree: c.GetCommit().GetTree().GetSHA(), Parents: []string{c.Parents[0].GetSHA()},
		Date: c.GetCommit().GetCommitter().GetDate().Time, Subject: c.GetCommit().GetMessage(),
		Author: c.GetCommit().GetAuthor().GetName(), Email: c.GetCommit().GetAuthor().GetEmail(),
		Login: c.GetAuthor().GetLogin(), Change: "release-doc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commit of the branch (-want +got):\n%s", diff)
	}
	if b.GetName() != "nixos-26.05" || !b.GetProtected() || b.Protection == nil {
		t.Errorf("branch is %v", b)
	}
	if resp.Rate.Limit != 60 || resp.Rate.Remaining != 59 || resp.Rate.Reset.Before(time.Now()) {
		t.Errorf("rate is %v", resp.Rate)
	}
}

func TestCommits(t *testing.T) {
	s := testServer(t, Options{})
	gh := testClient(t, s)
	want := s.fixture.Commit("next")
	for _, ref := range []string{want.Rev, want.Rev[:9], "nixos-unstable", "heads/nixos-unstable", "refs/heads/nixos-unstable"} {
		c, _, err := gh.Repositories.GetCommit(t.Context(), RepositoryOwner, RepositoryName, ref, nil)
		if err != nil || c.GetSHA() != want.Rev || c.GetCommit().GetTree().GetSHA() != want.Tree {
			t.Errorf("commits/%s = %v, %v, want %s", ref, c, err, want.Rev)
		}
		sha, _, err := gh.Repositories.GetCommitSHA1(t.Context(), RepositoryOwner, RepositoryName, ref, "")
		if err != nil || sha != want.Rev {
			t.Errorf("revision of commits/%s = %q, %v, want %s", ref, sha, err, want.Rev)
		}
	}
	c, _, err := gh.Git.GetCommit(t.Context(), RepositoryOwner, RepositoryName, want.Rev)
	if err != nil || c.GetTree().GetSHA() != want.Tree || !c.GetCommitter().GetDate().Equal(github.Timestamp{Time: want.Date}) {
		t.Errorf("git/commits/%s = %v, %v", want.Rev, c, err)
	}
	list, _, err := gh.Repositories.ListCommits(t.Context(), RepositoryOwner, RepositoryName, &github.CommitsListOptions{SHA: want.Rev})
	if err != nil || len(list) != 3 || list[2].GetSHA() != s.fixture.Commit("old").Rev {
		t.Errorf("commits from %s = %v, %v, want three down to the first", want.Rev, list, err)
	}
}

func TestCompare(t *testing.T) {
	s := testServer(t, Options{})
	rev := func(change string) string { return s.fixture.Commit(change).Rev }
	for _, tt := range []struct{ base, head, status string }{
		{"nixos-26.05", rev("release-doc"), "identical"},
		{"nixos-26.05", rev("shared"), "behind"},
		{rev("shared"), "nixos-26.05", "ahead"},
		{"nixos-26.05", rev("next"), "diverged"},
	} {
		c, _, err := testClient(t, s).Repositories.CompareCommits(t.Context(), RepositoryOwner, RepositoryName, tt.base, tt.head, nil)
		if err != nil || c.GetStatus() != tt.status || tt.status == "diverged" && c.GetMergeBaseCommit().GetSHA() != rev("shared") {
			t.Errorf("%s...%s is %s from %s, %v, want %s", tt.base, tt.head, c.GetStatus(), c.GetMergeBaseCommit().GetSHA(), err, tt.status)
		}
	}
}

func TestErrors(t *testing.T) {
	s := testServer(t, Options{Token: "right"})
	repo := "/repos/NixOS/nixpkgs"
	missing := strings.Repeat("ab", 20)
	for _, c := range []struct {
		path, token string
		status      int
		body        string
	}{
		{repo + "/branches/nixos-27.05", "", 404, `{"documentation_url":"https://docs.github.com/rest/branches/branches#get-a-branch","message":"Branch not found","status":"404"}`},
		{repo + "/git/commits/" + missing, "", 404, `{"documentation_url":"https://docs.github.com/rest/git/commits#get-a-commit-object","message":"Not Found","status":"404"}`},
		{repo + "/git/commits/abc", "", 422, `{"documentation_url":"https://docs.github.com/rest/git/commits#get-a-commit-object","message":"The sha parameter must be exactly 40 characters and contain only [0-9a-f].","status":"422"}`},
		{repo + "/commits/" + missing, "", 422, `{"documentation_url":"https://docs.github.com/rest/commits/commits#get-a-commit","message":"No commit found for SHA: ` + missing + `","status":"422"}`},
		{repo + "/git/ref/heads/none", "", 404, `{"documentation_url":"https://docs.github.com/rest/git/refs#get-a-reference","message":"Not Found","status":"404"}`},
		{repo + "/git/matching-refs/heads/none", "", 200, `[]`},
		{"/repos/NixOS/other/branches/master", "", 404, `{"documentation_url":"https://docs.github.com/rest/repos/repos#get-a-repository","message":"Not Found","status":"404"}`},
		{"/nowhere", "", 404, `{"documentation_url":"https://docs.github.com/rest","message":"Not Found","status":"404"}`},
		{repo + "/git/ref/heads/master", "wrong", 401, `{"documentation_url":"https://docs.github.com/rest","message":"Bad credentials","status":"401"}`},
	} {
		resp, body := get(t, s.API()+c.path, map[string]string{"Authorization": strings.TrimSuffix("Bearer "+c.token, "Bearer ")})
		if resp.StatusCode != c.status || body != c.body {
			t.Errorf("GET %s: %d %s\nwant %d %s", c.path, resp.StatusCode, body, c.status, c.body)
		}
	}
}

// get returns the answer to a request with headers, and its body.
func get(t *testing.T, url string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestConditional: what the client has already costs nothing, until the head moves.
func TestConditional(t *testing.T) {
	s := testServer(t, Options{})
	url := s.API() + "/repos/NixOS/nixpkgs/branches/nixos-26.05"
	first, _ := get(t, url, nil)
	tag := first.Header.Get("ETag")
	if !regexp.MustCompile(`^W/"[0-9a-f]{64}"$`).MatchString(tag) {
		t.Fatalf("ETag %q is not a weak one", tag)
	}
	for _, c := range []struct {
		name      string
		before    func()
		tag, auth string
		status    int
		remaining string
	}{
		{name: "same", tag: tag, status: 304, remaining: "59"},
		{name: "strong, in a list", tag: `"x", ` + strings.TrimPrefix(tag, "W/"), status: 304, remaining: "59"},
		{name: "another", tag: `W/"x"`, status: 200, remaining: "58"},
		{name: "authenticated", tag: tag, auth: "Bearer x", status: 200, remaining: "57"},
		{name: "moved", tag: tag, before: func() { s.NextHead("nixos-26.05") }, status: 200, remaining: "56"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != nil {
				c.before()
			}
			resp, body := get(t, url, map[string]string{"If-None-Match": c.tag, "Authorization": c.auth})
			if resp.StatusCode != c.status || resp.Header.Get("X-RateLimit-Remaining") != c.remaining {
				t.Errorf("status %d, %s requests remaining, want %d, %s", resp.StatusCode, resp.Header.Get("X-RateLimit-Remaining"), c.status, c.remaining)
			}
			if c.status == 304 && (body != "" || resp.Header.Get("ETag") != tag) {
				t.Errorf("304 with ETag %q and body %q", resp.Header.Get("ETag"), body)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	s := testServer(t, Options{})
	gh := testClient(t, s)
	reset := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	s.SetRateLimit(1, reset)
	branch := func() error {
		_, _, err := gh.Git.GetRef(t.Context(), RepositoryOwner, RepositoryName, "heads/master")
		return err
	}
	if err := branch(); err != nil {
		t.Fatal(err)
	}
	// A client that knows nothing of the limit must be told by the server.
	gh = testClient(t, s)
	var limited *github.RateLimitError
	if err := branch(); !errors.As(err, &limited) || !limited.Rate.Reset.Equal(github.Timestamp{Time: reset}) {
		t.Errorf("error %v, want a rate limit until %v", err, reset)
	}
	limits, _, err := gh.RateLimit.Get(t.Context())
	if err != nil || limits.Core.Remaining != 0 {
		t.Errorf("rate_limit = %v, %v, want 0 remaining", limits, err)
	}
	s.SetRateLimit(0, time.Now().Add(-time.Second))
	gh = testClient(t, s)
	if err := branch(); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}

func TestLists(t *testing.T) {
	s := testServer(t, Options{})
	gh := testClient(t, s)
	var pages [][]string
	o := &github.BranchListOptions{ListOptions: github.ListOptions{PerPage: 4}}
	for {
		list, resp, err := gh.Repositories.ListBranches(t.Context(), RepositoryOwner, RepositoryName, o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, b := range list {
			names = append(names, b.GetName())
		}
		pages = append(pages, names)
		if resp.NextPage == 0 {
			break
		}
		o.Page = resp.NextPage
	}
	want := [][]string{
		{"master", "nixos-25.11", "nixos-26.05", "nixos-26.05-small"},
		{"nixos-unstable", "nixos-unstable-small", "nixpkgs-26.05-darwin", "nixpkgs-unstable"},
		{"release-26.05", "staging"},
	}
	if diff := cmp.Diff(want, pages); diff != "" {
		t.Errorf("pages of branches (-want +got):\n%s", diff)
	}
	refs, _, err := gh.Git.ListMatchingRefs(t.Context(), RepositoryOwner, RepositoryName, &github.ReferenceListOptions{Ref: "heads/nixos-26"})
	if err != nil || len(refs) != 2 || refs[0].GetRef() != "refs/heads/nixos-26.05" || refs[0].GetObject().GetSHA() != s.Head("nixos-26.05") {
		t.Errorf("matching refs = %v, %v", refs, err)
	}
}

// TestActivity follows the cursors of a channel's history, newest first.
func TestActivity(t *testing.T) {
	s := testServer(t, Options{})
	f := s.fixture
	if _, err := s.NextHead("nixos-26.05"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHead("nixos-26.05", f.Commit("shared").Rev); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Before, After, Ref string
		Kind               string    `json:"activity_type"`
		Timestamp          time.Time `json:"timestamp"`
	}
	gh := testClient(t, s)
	next := s.API() + "/repos/NixOS/nixpkgs/activity?ref=refs/heads/nixos-26.05&per_page=2"
	var got []string
	var last time.Time
	for pages := 0; next != ""; pages++ {
		if pages == 5 {
			t.Fatal("the pages do not end")
		}
		var page []entry
		resp := getJSON(t, gh, next, &page)
		for _, e := range page {
			got = append(got, fmt.Sprintf("%s %s %s..%s", e.Kind, e.Ref, name(f, e.Before), name(f, e.After)))
			if !last.IsZero() && !e.Timestamp.Before(last) {
				t.Errorf("%v comes after %v", e.Timestamp, last)
			}
			last = e.Timestamp
		}
		next = ""
		if m := regexp.MustCompile(`<([^>]*)>; rel="next"`).FindStringSubmatch(resp.Header.Get("Link")); m != nil {
			next = m[1]
		}
	}
	want := []string{
		"force_push refs/heads/nixos-26.05 release-leaf..shared",
		"push refs/heads/nixos-26.05 release-doc..release-leaf",
		"push refs/heads/nixos-26.05 shared..release-doc",
		"push refs/heads/nixos-26.05 old..shared",
		"branch_creation refs/heads/nixos-26.05 nothing..old",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
}

func name(f *Fixture, rev string) string {
	for name, c := range f.doc.Commits {
		if c.Rev == rev {
			return name
		}
	}
	return strings.ReplaceAll(rev, zeroRev, "nothing")
}

func getJSON(t *testing.T, gh *github.Client, url string, v any) *github.Response {
	t.Helper()
	req, err := gh.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := gh.Do(context.WithoutCancel(t.Context()), req, v)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
