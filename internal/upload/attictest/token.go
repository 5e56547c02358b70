package attictest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// Permission is what a token may do with a cache.
type Permission string

// The claims of Attic's tokens.
const (
	Pull Permission = "r"
	Push Permission = "w"
)

// claims is the payload of a token. A pattern of cache names ("*", "team-*")
// stands for permissions.
type claims struct {
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
	Attic   struct {
		Caches map[string]map[Permission]int `json:"caches"`
	} `json:"https://jwt.attic.rs/v1"`
}

var encoding = base64.RawURLEncoding

// Token makes a token, good for an hour, for all caches that match a pattern.
func (s *Server) Token(pattern string, allowed ...Permission) string {
	return s.token(pattern, time.Now().Add(time.Hour), allowed)
}

// ExpiredToken makes a token that was good until an hour ago.
func (s *Server) ExpiredToken(pattern string, allowed ...Permission) string {
	return s.token(pattern, time.Now().Add(-time.Hour), allowed)
}

// token makes a JSON web token (RFC 7519) with an HMAC (HS256 of RFC 7518).
func (s *Server) token(pattern string, expires time.Time, allowed []Permission) string {
	c := claims{Subject: "factory", Expires: expires.Unix()}
	c.Attic.Caches = map[string]map[Permission]int{pattern: {}}
	for _, p := range allowed {
		c.Attic.Caches[pattern][p] = 1
	}
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	signed := encoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encoding.EncodeToString(payload)
	return signed + "." + encoding.EncodeToString(s.mac(signed))
}

func (s *Server) mac(signed string) []byte {
	h := hmac.New(sha256.New, s.jwtKey)
	h.Write([]byte(signed))
	return h.Sum(nil)
}

// permissions returns what a request may do. A token that is not valid counts
// as none, as in the real server.
func (s *Server) permissions(r *http.Request, cache string) map[Permission]bool {
	allowed := map[Permission]bool{}
	if s.options.Public && cache == s.options.Cache {
		allowed[Pull] = true
	}
	c, err := s.parse(bearer(r))
	if err != nil {
		return allowed
	}
	for pattern, granted := range c.Attic.Caches {
		if ok, err := path.Match(pattern, cache); err != nil || !ok {
			continue
		}
		for p, value := range granted {
			allowed[p] = allowed[p] || value == 1
		}
	}
	return allowed
}

// bearer returns the token of a request: behind "bearer", or as the password
// that Nix finds in a netrc file.
func bearer(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return token
	}
	_, password, _ := r.BasicAuth()
	return password
}

func (s *Server) parse(token string) (claims, error) {
	var c claims
	signed, mac, ok := cutLast(token, ".")
	if !ok {
		return c, fmt.Errorf("not a token")
	}
	got, err := encoding.DecodeString(mac)
	if err != nil || !hmac.Equal(got, s.mac(signed)) {
		return c, fmt.Errorf("signature does not match")
	}
	_, payload, _ := strings.Cut(signed, ".")
	data, err := encoding.DecodeString(payload)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, err
	}
	if time.Now().Unix() > c.Expires {
		return c, fmt.Errorf("expired")
	}
	return c, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// allow answers with the error of a caller who lacks a permission, or whose
// cache does not exist, and reports whether there is none. Who may do nothing
// at all with a cache does not learn whether it exists.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, cache string, needed Permission) bool {
	allowed := s.permissions(r, cache)
	discover := allowed[Pull] || allowed[Push]
	switch {
	case !discover:
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized.")
	case cache != s.options.Cache:
		refuse(w, http.StatusNotFound, "NoSuchCache", "The requested cache does not exist.")
	case !allowed[needed]:
		refuse(w, http.StatusForbidden, "AccessError", "Access error: User does not have permission to complete this action.")
	default:
		return true
	}
	return false
}

// refuse answers as the real server does.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"code": status, "error": kind, "message": message})
}

func bad(w http.ResponseWriter, format string, args ...any) {
	refuse(w, http.StatusBadRequest, "RequestError", "General request error: "+fmt.Sprintf(format, args...))
}
