package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// token is a token of the registry's token service, and when a new one is due.
type token struct {
	mu    sync.Mutex // held while it is asked for, so that it is asked for once
	value string
	until time.Time
}

func tokenKey(repository string, scopes []string) string {
	return repository + " " + strings.Join(scopes, " ")
}

// token returns a token for the scopes: one that it has, or a new one.
func (h *host) token(ctx context.Context, asked *challenge, l login, repository string, scopes []string) (string, error) {
	key := tokenKey(repository, scopes)
	h.mu.Lock()
	t := h.tokens[key]
	if t == nil {
		t = &token{}
		h.tokens[key] = t
	}
	h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value != "" && now().Before(t.until) {
		return t.value, nil
	}
	answer, err := h.issue(ctx, asked, l, scopes)
	if err != nil {
		h.forgetLogin(repository)
		return "", err
	}
	t.value, t.until = answer.value(), now().Add(answer.life()*9/10)
	if answer.RefreshToken != "" {
		h.refresh(repository, answer.RefreshToken)
	}
	return t.value, nil
}

func (h *host) forgetLogin(repository string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.logins, repository)
}

// refresh keeps what the service wants to be asked with the next time.
func (h *host) refresh(repository, identity string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.logins[repository]; ok {
		l.AuthConfig = authn.AuthConfig{IdentityToken: identity}
		h.logins[repository] = l
	}
}

// issued is the answer of a token service.
type issued struct {
	Token        string          `json:"token"`
	AccessToken  string          `json:"access_token"`
	RefreshToken string          `json:"refresh_token"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // seconds; not all services write a number
}

// life is for how long a token is good.
func (i issued) life() time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(i.ExpiresIn), `"`), 64)
	if err != nil || !(seconds > 0) {
		return time.Minute // https://distribution.github.io/distribution/spec/auth/token/
	}
	return time.Duration(min(seconds, 24*60*60) * float64(time.Second))
}

func (i issued) value() string {
	if i.Token != "" {
		return i.Token
	}
	return i.AccessToken
}

// issue asks the token service.
func (h *host) issue(ctx context.Context, asked *challenge, l login, scopes []string) (issued, error) {
	realm, err := url.Parse(asked.params["realm"])
	if err != nil {
		return issued{}, errors.New("the registry names a token service that is not a URL")
	}
	if err := h.mayIssue(realm); err != nil {
		return issued{}, err
	}
	if l.IdentityToken != "" {
		got, err := h.exchange(ctx, oauthRequest(realm, asked, l, scopes))
		var answer *AnswerError
		if !errors.As(err, &answer) || answer.Status != http.StatusNotFound && answer.Status != http.StatusMethodNotAllowed {
			return got, err
		}
	}
	return h.exchange(ctx, tokenRequest(realm, asked, l, scopes))
}

// tokenRequest is https://distribution.github.io/distribution/spec/auth/token/
func tokenRequest(realm *url.URL, asked *challenge, l login, scopes []string) *http.Request {
	u := *realm
	q := u.Query()
	q["scope"] = scopes
	if service := asked.params["service"]; service != "" {
		q.Set("service", service)
	}
	u.RawQuery = q.Encode()
	req := &http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: http.Header{}}
	switch {
	case l.Auth != "":
		req.Header.Set("Authorization", "Basic "+l.Auth)
	case l.Username != "" || l.Password != "":
		req.SetBasicAuth(l.Username, l.Password)
	}
	return req
}

// oauthRequest is https://distribution.github.io/distribution/spec/auth/oauth/
func oauthRequest(realm *url.URL, asked *challenge, l login, scopes []string) *http.Request {
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {l.IdentityToken},
		"client_id":     {"factory"},
		"scope":         {strings.Join(scopes, " ")},
	}
	if service := asked.params["service"]; service != "" {
		form.Set("service", service)
	}
	text := form.Encode()
	return &http.Request{
		Method: http.MethodPost, URL: realm, Host: realm.Host,
		Header:        http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		ContentLength: int64(len(text)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
	}
}

// exchange sends a request to the token service.
func (h *host) exchange(ctx context.Context, req *http.Request) (issued, error) {
	client := http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) { return h.patiently(r, h.send) }),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return errRedirects
			}
			if err := stillSends(r, via); err != nil {
				return err
			}
			if r.URL.Host != via[0].URL.Host {
				r.Header.Del("Authorization") // the library takes it along to another port
				if r.Method == http.MethodPost {
					return fmt.Errorf("redirected to %s, which credentials are not sent to", clean(r.URL.Host))
				}
			}
			return h.mayIssue(r.URL)
		},
	}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return issued{}, requestError(req, err)
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusOK {
		return issued{}, answerOf(resp, "")
	}
	var got issued
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&got); err != nil || got.value() == "" {
		return issued{}, fmt.Errorf("%s: the answer has no token", place(req))
	}
	return got, nil
}

// mayIssue refuses token services that credentials must not be sent to: a
// registry that was taken over could name an address of the private network,
// or one that is listened to.
func (h *host) mayIssue(realm *url.URL) error {
	scheme, _ := h.spoken()
	plainly := realm.Scheme == "http" && scheme == "http"
	switch {
	case realm.Host == "" || realm.Scheme != "https" && realm.Scheme != "http":
		return fmt.Errorf("the registry names a token service that is not a URL: %q", clean(realm.Redacted()))
	case h.trusts(realm.Host):
		return nil
	case hostname(realm.Host) == hostname(h.registry.RegistryStr()) && (realm.Scheme == "https" || plainly):
		return nil
	case realm.Scheme == "http":
		return fmt.Errorf("the registry's token service at %s speaks plain HTTP, and credentials are not sent without encryption: if that is meant, set REGISTRY_TRUSTED_HOSTS=%s", clean(realm.Host), clean(realm.Host))
	case inside(hostname(realm.Host)):
		return fmt.Errorf("the registry's token service is at %s, a private address that is not the registry's own: if that is meant, set REGISTRY_TRUSTED_HOSTS=%s", clean(realm.Host), clean(realm.Host))
	}
	return nil
}

// trusts tells whether the operator named a host.
func (h *host) trusts(at string) bool {
	return slices.Contains(h.o.TrustedHosts, at) || slices.Contains(h.o.TrustedHosts, hostname(at))
}

// inside tells whether a host is an address that is not of the public
// Internet. Numbers in other notations than the usual ones count, too.
func inside(at string) bool {
	ip, err := netip.ParseAddr(at)
	if err != nil {
		last := at[strings.LastIndexByte(at, '.')+1:]
		return last == "" || '0' <= last[0] && last[0] <= '9' // no name of the Internet ends so
	}
	ip = ip.WithZone("").Unmap()
	return !ip.IsGlobalUnicast() || ip.IsPrivate()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
