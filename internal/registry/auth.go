package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// login is who a repository is asked as.
type login struct {
	authn.AuthConfig
	until   time.Time // asked for anew then: some logins last for hours only
	reading bool      // it was seen that it gets no token for pushing
}

const loginLife = 5 * time.Minute

func (l login) anonymous() bool { return l.AuthConfig == authn.AuthConfig{} }

// login returns the credentials for a repository.
func (h *host) login(ctx context.Context, repository string) (login, error) {
	h.mu.Lock()
	l, ok := h.logins[repository]
	h.mu.Unlock()
	if ok && now().Before(l.until) {
		return l, nil
	}
	auth, err := authn.Resolve(ctx, h.o.Keychain, h.registry.Repo(repository))
	if err != nil {
		return login{}, err
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return login{}, err
	}
	l = login{AuthConfig: *config, until: now().Add(loginLife)}
	h.keepLogin(repository, l)
	return l, nil
}

func (h *host) keepLogin(repository string, l login) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logins[repository] = l
}

// scopes are the rights that a request needs, the repository's own ones first.
func (h *host) scopes(r *http.Request, repository string, l login) []string {
	actions := "pull,push"
	if question(r) && (l.anonymous() || l.reading || !h.o.Push) {
		actions = "pull"
	}
	scopes := []string{"repository:" + repository + ":" + actions}
	if from := r.URL.Query().Get("from"); from != "" && r.Method == http.MethodPost {
		scopes = append(scopes, "repository:"+from+":pull")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if wider := h.wider[tokenKey(repository, scopes)]; wider != nil {
		return wider
	}
	return scopes
}

func question(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// sendWithLogin sends a request as the one who may push or read the
// repository. A registry that does not take the token gets a new one: tokens
// expire between two requests.
func (h *host) sendWithLogin(r *http.Request, repository string) (*http.Response, error) {
	l, err := h.login(r.Context(), repository)
	if err != nil {
		return nil, err
	}
	scopes := h.scopes(r, repository, l)
	attempts := 2
	if !question(r) {
		attempts = 3
	}
	for try := 1; ; try++ {
		header, err := h.authorization(r, l, repository, scopes)
		if err != nil {
			return nil, preliminary{err}
		}
		req := r.Clone(r.Context())
		req.URL.Scheme, _ = h.spoken()
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := h.send(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || try == attempts {
			return resp, err
		}
		asked := challengeOf(resp)
		if asked == nil || strings.HasPrefix(header, "Basic ") || header == "Bearer "+l.RegistryToken {
			return resp, nil // nothing else to answer with
		}
		drain(resp)
		scopes = h.refused(asked, repository, scopes)
	}
}

// refused forgets a token, and takes over where the registry wants the next
// one from and for what.
func (h *host) refused(asked *challenge, repository string, scopes []string) (wanted []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.challenge = asked
	key := tokenKey(repository, scopes)
	delete(h.tokens, key)
	wanted = asked.widen(scopes)
	if len(wanted) > len(scopes) {
		h.wider[key] = wanted
	}
	return wanted
}

// authorization is the header that answers the registry's challenge, or "".
func (h *host) authorization(r *http.Request, l login, repository string, scopes []string) (string, error) {
	scheme, asked := h.spoken()
	if asked == nil {
		return "", nil
	}
	if l.anonymous() && asked.basic() {
		return "", nil
	}
	if !l.anonymous() && scheme == "http" && !h.declaredPlain() && !h.local() {
		return "", fmt.Errorf("%s speaks plain HTTP, and credentials are not sent without encryption: if that is meant, write http://%s/... as the destination", h.registry, h.registry)
	}
	switch {
	case asked.basic() && l.Auth != "":
		return "Basic " + l.Auth, nil
	case asked.basic():
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(l.Username, l.Password)
		return req.Header.Get("Authorization"), nil
	case l.RegistryToken != "":
		return "Bearer " + l.RegistryToken, nil
	}
	value, err := h.token(r.Context(), asked, l, repository, scopes)
	var answer *AnswerError
	if errors.As(err, &answer) && answer.Status < 500 && question(r) && strings.HasSuffix(scopes[0], ":pull,push") {
		// No rights to push are no reason not to read.
		reading := []string{strings.TrimSuffix(scopes[0], ",push")}
		if value, err := h.token(r.Context(), asked, l, repository, reading); err == nil {
			l.reading = true
			h.keepLogin(repository, l)
			return "Bearer " + value, nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return "Bearer " + value, nil
}

// challenge is how a registry wants to be answered.
type challenge struct {
	scheme string // basic or bearer
	params map[string]string
}

func (c *challenge) basic() bool { return c.scheme == "basic" }

// widen adds what the registry says that it wants beside scopes.
func (c *challenge) widen(scopes []string) []string {
	scopes = slices.Clone(scopes)
	for _, s := range strings.Fields(c.params["scope"]) {
		if !slices.ContainsFunc(scopes, func(have string) bool { return covers(have, s) }) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// covers tells whether one scope has all the actions of another.
func covers(have, want string) bool {
	i, j := strings.LastIndex(have, ":"), strings.LastIndex(want, ":")
	if i < 0 || j < 0 || have[:i] != want[:j] {
		return false
	}
	actions := strings.Split(have[i+1:], ",")
	for _, action := range strings.Split(want[j+1:], ",") {
		if !slices.Contains(actions, action) {
			return false
		}
	}
	return true
}

// challengeOf reads the challenges of an answer and returns the one to answer:
// a registry that has both wants a token.
func challengeOf(resp *http.Response) *challenge {
	var found *challenge
	for _, line := range resp.Header.Values("WWW-Authenticate") {
		for _, c := range parseChallenges(line) {
			switch {
			case c.scheme == "bearer" && c.params["realm"] != "":
				return &c
			case c.scheme == "basic":
				found = &c
			}
		}
	}
	return found
}

// parseChallenges reads a WWW-Authenticate header, which may have several
// challenges: https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate
func parseChallenges(line string) []challenge {
	var list []challenge
	for line = strings.TrimLeft(line, " ,"); line != ""; line = strings.TrimLeft(line, " ,") {
		word, rest := line, ""
		if i := strings.IndexAny(line, " ,="); i >= 0 {
			word, rest = line[:i], line[i:]
		}
		value, isParam := strings.CutPrefix(strings.TrimLeft(rest, " "), "=")
		if word == "" { // not a header that anybody would send
			return list
		}
		if !isParam {
			list = append(list, challenge{strings.ToLower(word), map[string]string{}})
			line = rest
			continue
		}
		value, line = quotedOrWord(strings.TrimLeft(value, " "))
		if len(list) > 0 {
			list[len(list)-1].params[strings.ToLower(word)] = value
		}
	}
	return list
}

// quotedOrWord cuts the first value from s.
func quotedOrWord(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, " ,"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
