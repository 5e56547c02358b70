package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Tokens is a token service with one user, "ann" with the password "secret".
type Tokens struct {
	Realm string                         // of the service, "": the registry's own /token
	Grant func(scopes []string) []string // what a token is good for; where it returns nil, there is none. nil: all that is asked for
	Good  func(r *http.Request) bool     // whether a token is (still) taken, nil: always
	Basic bool                           // offers a login by password, too, and does not take it
	Life  any                            // of a token, as the service writes it, nil: 60

	Issued int // tokens so far
}

var (
	inRepository = regexp.MustCompile(`^/v2/(.+)/(?:manifests|blobs|tags)/`)
	scopeForm    = regexp.MustCompile(`^repository:([^:]+):([a-z,]+)$`)
)

// admit answers for the token service, and requests that have no good token.
func (t *Tokens) admit(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/token" {
		t.ServeHTTP(w, r)
		return false
	}
	need := needs(r)
	if t.taken(r, need) && (t.Good == nil || t.Good(r)) {
		return true
	}
	realm := t.Realm
	if realm == "" {
		realm = "http://" + r.Host + "/token"
	}
	if t.Basic {
		w.Header().Add("WWW-Authenticate", `Basic realm="here, too"`)
	}
	w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="test",scope="%s"`, realm, strings.Join(need, " ")))
	Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// needs are the scopes of a request.
func needs(r *http.Request) []string {
	m := inRepository.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return nil
	}
	actions := "pull,push"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		actions = "pull"
	}
	scopes := []string{"repository:" + m[1] + ":" + actions}
	if from := r.URL.Query().Get("from"); from != "" {
		scopes = append(scopes, "repository:"+from+":pull")
	}
	return scopes
}

// taken tells whether a token is good for what a request needs.
func (t *Tokens) taken(r *http.Request, need []string) bool {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	has := strings.Fields(value)
	for _, n := range need {
		want := scopeForm.FindStringSubmatch(n)
		if !slices.ContainsFunc(has, func(h string) bool {
			m := scopeForm.FindStringSubmatch(h)
			return m != nil && m[1] == want[1] && strings.Contains(m[2], want[2])
		}) {
			return false
		}
	}
	return true
}

// ServeHTTP issues tokens: the scopes, in plain text.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if ok && (user != "ann" || password != "secret") {
		Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong password")
		return
	}
	scopes := r.URL.Query()["scope"]
	if r.Method == http.MethodPost {
		if r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != "ann's" {
			Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong token")
			return
		}
		scopes = strings.Fields(r.PostFormValue("scope"))
	}
	if t.Grant != nil {
		scopes = t.Grant(scopes)
	}
	if scopes == nil {
		Refuse(w, http.StatusForbidden, "DENIED", "not for you")
		return
	}
	t.Issued++
	life := t.Life
	if life == nil {
		life = 60
	}
	json.NewEncoder(w).Encode(map[string]any{"token": "of " + strings.Join(scopes, " "), "expires_in": life})
}
