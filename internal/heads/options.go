package heads

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// Options of a Client. The zero value asks api.github.com for NixOS/nixpkgs, without a token.
type Options struct {
	API        string // base URL; for GitHub Enterprise https://HOST/api/v3/; "": https://api.github.com/
	Repository string // "owner/name"; "": NixOS/nixpkgs
	UserAgent  string // "": "nixpkgs-factory"
	Token      string // sent to the host of API and to no other; "": anonymous
	ETags      ETags  // nil: every request is unconditional
	// Sleep waits out a secondary rate limit, or returns the context's error;
	// nil: does only that. Nothing is waited for longer than two minutes.
	Sleep func(context.Context, time.Duration) error

	HTTP *http.Client // nil: one that repeats what fails for a passing reason
}

// ETags remembers answers, so that the server need not send them again.
// Its keys start with the URL but say more than that.
type ETags interface {
	ETag(url string) (etag string, body []byte, ok bool)
	SetETag(url, etag string, body []byte) error
}

const (
	defaultAPI        = "https://api.github.com/"
	defaultRepository = "NixOS/nixpkgs"
)

var repositoryRule = regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$`)

// NewClient makes a client. It makes no request.
func NewClient(options Options) (*Client, error) {
	repository := options.Repository
	if repository == "" {
		repository = defaultRepository
	}
	if !repositoryRule.MatchString(repository) || strings.Trim(path.Base(repository), ".") == "" {
		return nil, fmt.Errorf("repository %q: want owner/name", repository)
	}
	base, err := parseAPI(options.API)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(options.Token)
	if err := checkToken(token, base); err != nil {
		return nil, err
	}
	client := http.Client{Transport: fetch.New(fetch.Options{}).Transport()}
	if options.HTTP != nil {
		client = *options.HTTP
	}
	if client.Transport == nil {
		client.Transport = fetch.Guard(nil, fetch.Limits{})
	}
	t := &transport{base: client.Transport, scheme: base.Scheme, host: base.Host, token: token, etags: options.ETags}
	client.Transport = t
	c := &Client{github: github.NewClient(&client), authenticated: token != "", transport: t, sleep: options.Sleep}
	if c.sleep == nil {
		c.sleep = fetch.Sleep
	}
	c.github.BaseURL = base
	c.github.UserAgent = cmp.Or(options.UserAgent, "nixpkgs-factory")
	c.owner, c.name, _ = strings.Cut(repository, "/")
	return c, nil
}

func parseAPI(api string) (*url.URL, error) {
	if api == "" {
		api = defaultAPI
	}
	base, err := url.Parse(api)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http":
		return nil, fmt.Errorf("API address %q: want https://HOST/", fetch.Redact(api))
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("API address %q: only scheme, host and path are possible", fetch.Redact(api))
	}
	if !strings.HasSuffix(base.Path, "/") {
		base = base.JoinPath("/")
	}
	return base, nil
}
